# look.sh SETTINGS: what there is of Docker, as one JSON object. Changes nothing.
quoted() { python3 -c 'import json, sys; sys.stdout.write(json.dumps(sys.stdin.read().strip()))'; }
installed=false
if command -v dockerd >/dev/null 2>&1; then installed=true; fi
answers=false version= options= running=0
if command -v docker >/dev/null 2>&1 && version=$(docker version -f '{{.Server.Version}}' 2>/dev/null); then
  answers=true
  options=$(docker info -f '{{join .SecurityOptions " "}} live-restore={{.LiveRestoreEnabled}} driver={{.LoggingDriver}}')
  running=$(docker ps -q | wc -l)
fi
printf '{"installed":%s,"answers":%s,"version":%s,"options":%s,"running":%s,"members":%s,"settings":%s}\n' \
  $installed $answers "$(printf %s "$version" | quoted)" "$(printf %s "$options" | quoted)" "$running" \
  "$(getent group docker | cut -d: -f4 | quoted)" "$(cat "$1" 2>/dev/null | quoted)"
