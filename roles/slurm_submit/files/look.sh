# look.sh FILE...: what there is of Slurm, as one JSON object; which of the files are there. Changes nothing.
missing=
for tool in sbatch squeue scancel sinfo scontrol; do
  command -v $tool >/dev/null 2>&1 || missing="$missing,\"$tool\""
done
there=
for file; do
  [ ! -e "$file" ] || there="$there,\"$file\""
done
answers=false
said=$(timeout 20 sinfo -h -o %P 2>&1) && answers=true
printf '{"missing":[%s],"there":[%s],"answers":%s,"said":%s}\n' "${missing#,}" "${there#,}" $answers \
  "$(printf %s "$said" | python3 -c 'import json, sys; sys.stdout.write(json.dumps(" ".join(sys.stdin.read().split())))')"
