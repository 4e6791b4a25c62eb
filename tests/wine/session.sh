#!/bin/bash
# One Windows machine for one test session, until standard input ends. Called by tests/wine/wine.py as process 1 of
# mount and process namespaces of its own: when it ends, every process in it is killed and nothing was mounted outside.
#   session.sh ROOT SCRATCH RUNNER [rw:FOLDER | ro:FOLDER ...]
#   ROOT     the built chroot; stays as it is (what is written lands in memory and is gone afterwards)
#   SCRATCH  an empty folder to mount things on
#   RUNNER   becomes Z:\srv\ras; the FOLDERs are seen at the paths they have here
set -euo pipefail
root=$1 scratch=$2 runner=$3
shift 3
mount -t tmpfs -o mode=755 ras-wine "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" ras-wine "$scratch/root"
cd "$scratch/root"
mount -t proc proc proc
mount --rbind /dev dev
# bind rw|ro SOURCE TARGET
bind() {
  mkdir -p "./$3"
  mount --bind "$2" "./$3"
  [ "$1" = rw ] || mount -o remount,bind,ro "./$3"
}
bind ro "$runner" srv/ras
for item; do bind "${item%%:*}" "${item#*:}" "${item#*:}"; done
# The services and the desktop start now, and one program keeps the desktop (explorer.exe): wine ends it with the last
# program that uses it, and then starts it anew as a child of the next, whose environment and marks it would have.
exec chroot . /bin/bash -c '
  cd /srv
  wineserver -p300 && wine start /b /wait cmd /c exit </dev/null || exit
  sleep infinity | wine start /b /wait cmd /c pause >/dev/null &
  until grep -qsa system32.cmd.exe /proc/[0-9]*/cmdline; do sleep 0.02; done
  echo ready
  read -r _ || true'
