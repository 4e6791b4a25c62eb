# look.sh FOLDER USER TOOL...: what the machine has, as one JSON object. Changes nothing.
folder=$1 user=$2
shift 2
missing=
for tool; do
  command -v "$tool" >/dev/null 2>&1 || missing="$missing,\"$tool\""
done
[ -r /proc/self/environ ] || missing="$missing,\"/proc\""
there=$folder
while [ ! -d "$there" ]; do there=$(dirname "$there"); done
free=$(df -Pk "$there" | awk 'NR == 2 { print $4 }')
entry=$(getent passwd "$user")
owner=
[ ! -d "$folder" ] || owner=$(stat -c %U "$folder")
hard=
[ -z "$entry" ] || hard=$(su -s /bin/sh -c 'ulimit -H -s' "$user" 2>/dev/null)
printf '{"missing":[%s],"free_on":"%s","free_kb":%s,"user":%s,"home":"%s","owner":"%s","stack":"%s"}\n' \
  "${missing#,}" "$there" "${free:-0}" "$([ -n "$entry" ] && echo true || echo false)" \
  "$(printf %s "$entry" | cut -d: -f6)" "$owner" "$hard"
