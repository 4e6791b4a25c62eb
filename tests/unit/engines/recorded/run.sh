#!/bin/sh
# Run script of one ras-runner attempt. It needs nothing but a POSIX shell.
cd '/w o/w/a1' || exit 1
# Claim the workspace first: of two launches of one attempt only one gets past this line.
mkdir claim 2>/dev/null || exit 0
echo $$ > claim/pid.tmp && mv claim/pid.tmp claim/pid
exec </dev/null >>stdout.log 2>>stderr.log
finish() {
  printf '{"exit_code": %d}\n' "$1" > exit.json.tmp && mv exit.json.tmp exit.json
  exit "$1"
}
step() {
  (cd p/d && exec "$@")
  rc=$?
  [ "$rc" -eq 0 ] || finish "$rc"
}
(
  trap 'kill -9 $! 2>/dev/null; exit 0' TERM
  while kill -0 $$ 2>/dev/null; do
    : > heartbeat
    sleep 10 &
    wait $!
  done
) &
beat=$!
trap 'kill "$beat" 2>/dev/null' EXIT
export OMP_NUM_THREADS=4
ulimit -s unlimited 2>/dev/null || ulimit -s "$(ulimit -H -s)"
step nice -n 10 '/opt/x y/RasUnsteady' 'it'"'"'s & $(here).tmp.hdf' x01
step nice -n 10 mv a b
finish 0
