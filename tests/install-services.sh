#!/bin/bash
# Installs what the tests need and pip cannot give. Safe to run again: what is there is left alone.
#   tests/install-services.sh [ansible] [browser] [dask] [docker] [slurm] [ssh] [terraform] [windows] [wine]
#                                                                                          no names: everything
# Debian or Ubuntu, as root or with sudo that asks for no password. Elsewhere it says which tests will be skipped and
# exits 0; with CI=true it fails instead.
#   RAS_TEST_CACHE          where builds are kept (default /var/cache/ras-runner-tests)
#   RAS_TEST_DEBIAN_MIRROR  mirror of Debian for the wine chroot (default: that of this machine's apt)
#   PYTHON                  Python 3.11 or later with pip (default: the project's .venv, else python3)
set -euo pipefail

repo=$(cd "$(dirname "$0")/.." && pwd)
cache=${RAS_TEST_CACHE:-/var/cache/ras-runner-tests}
python=${PYTHON:-$repo/.venv/bin/python}
[ -x "$python" ] || python=$(command -v python3 || true)
log=${TMPDIR:-/tmp}/install-services.$$.log
sections=()

say() { printf 'install-services: %s\n' "$*"; }

# give_up CAUSE...: the end of a section, when this machine cannot have it.
give_up() {
  say "$section: $*"
  say "$section: its tests will be skipped (with CI=true: fail)"
  exit 1
}

# quietly WHAT COMMAND...: shows nothing unless it fails.
quietly() {
  "${@:2}" >>"$log" 2>&1 || { tail -n 15 "$log"; give_up "failed: $1 (log: $log)"; }
}

apt_install() {
  local missing=() package
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "apt-get install ${missing[*]}"
  quietly "apt-get update" "${root[@]}" apt-get -q update
  quietly "apt-get install ${missing[*]}" "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qy --no-install-recommends "${missing[@]}"
}

# Where the collections are that the Windows roles and the dynamic inventories need: they come in the PyPI package
# ansible, since Galaxy is not reached everywhere. The folder is named after what is in it.
ansible_package=ansible==12.3.0
ansible_wanted="amazon/aws ansible/windows azure/azcollection community/windows"
ansible_collections() {
  printf '%s/ansible-collections-%s-%s\n' "$cache" "${ansible_package#*==}" \
    "$(printf %s "$ansible_wanted" | cksum | cut -d ' ' -f 1)"
}

ansible() {
  local folder scratch
  [ -n "$python" ] || give_up "there is no python3"
  folder=$(ansible_collections)
  if [ ! -e "$folder/complete" ]; then
    scratch=$(mktemp -d)
    quietly "download of $ansible_package" "$python" -m pip download --no-deps --dest "$scratch" "$ansible_package"
    quietly "mkdir $folder" "${root[@]}" mkdir -p "$folder"
    quietly "unpacking $ansible_package" "${root[@]}" "$(command -v python3)" - "$scratch" "$folder" $ansible_wanted <<'END'
import pathlib, sys, zipfile
scratch, folder = map(pathlib.Path, sys.argv[1:3])
wanted = tuple(f"ansible_collections/{name}/" for name in sys.argv[3:])
with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
    wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(wanted)])
(folder / "complete").touch()
END
    rm -rf "$scratch"
  fi
  say "ansible: $folder"
}

browser() {
  if [ "$system" = ubuntu ] && ! command -v chromium >/dev/null; then
    # Ubuntu's package only asks for a snap, which needs a running snapd.
    command -v snap >/dev/null || give_up "Chromium comes as a snap on Ubuntu, and snap is not there"
    quietly "snap install chromium" "${root[@]}" snap install chromium
  elif [ "$system" = debian ]; then
    apt_install chromium
  fi
  say "browser: $(chromium --version 2>/dev/null | head -n 1)"
}

# What reads s3:// (tests/dask/test_object_storage.py), in a folder of its own: it needs an older botocore than moto.
s3fs_package=s3fs==2026.9.0
s3fs_folder() {
  printf '%s/s3fs-%s-%s\n' "$cache" "${s3fs_package#*==}" \
    "$("$python" -c 'import sys; print("py%d%d" % sys.version_info[:2])')"
}

dask() {
  local folder
  [ -n "$python" ] || give_up "there is no python3"
  folder=$(s3fs_folder)
  if [ ! -e "$folder/complete" ]; then
    quietly "mkdir $folder" "${root[@]}" mkdir -p "$folder"
    quietly "install of $s3fs_package" "${root[@]}" "$python" -m pip install --no-compile --upgrade --target "$folder" "$s3fs_package"
    quietly "install of $s3fs_package" "${root[@]}" touch "$folder/complete"
  fi
  say "dask: $folder"
}

ssh() {
  # The tests start an sshd of their own. Where there was none, the package's is not to listen on this machine.
  local fresh=
  [ -e /usr/sbin/sshd ] || fresh=1
  apt_install openssh-server openssh-client rsync busybox iproute2
  if [ -n "$fresh" ] && command -v systemctl >/dev/null; then
    "${root[@]}" systemctl disable --now ssh.service ssh.socket >>"$log" 2>&1 || true
  fi
  # A user of tests/docker/test_remote_daemon.py that is not root: keys only, but not locked.
  id ras-test >/dev/null 2>&1 ||
    quietly "useradd ras-test" "${root[@]}" useradd --system --create-home --shell /bin/sh --password '*' ras-test
  say "ssh: $(/usr/sbin/sshd -V 2>&1 | grep -o -m 1 'OpenSSH_[^ ,]*')"
}

slurm() {
  # The tests start daemons of their own. Where there were none, the packages' are not to run on this machine.
  local fresh=
  [ -e /usr/sbin/slurmd ] || fresh=1
  apt_install slurm-client slurmctld slurmd munge
  if [ -n "$fresh" ] && command -v systemctl >/dev/null; then
    "${root[@]}" systemctl disable --now munge.service slurmctld.service slurmd.service >>"$log" 2>&1 || true
  fi
  say "slurm: $(/usr/sbin/slurmctld -V)"
}

# What checks the Azure module (tests/terraform/azure.py), and the version of Python that it is for.
azurerm_package=cdktf-cdktf-provider-azurerm==14.23.1
azurerm_server=tf==1.2.0
azurerm_folder() {
  printf '%s/azurerm-%s-%s-%s\n' "$cache" "${azurerm_package#*==}" "${azurerm_server#*==}" \
    "$("$python" -c 'import sys; print("py%d%d" % sys.version_info[:2])')"
}

# Policy checks of the modules (tests/terraform/test_policy.py), in a virtual environment of its own: 220 MB.
checkov_package=checkov==3.3.30
checkov_folder() {
  printf '%s/checkov-%s-%s\n' "$cache" "${checkov_package#*==}" \
    "$("$python" -c 'import sys; print("py%d%d" % sys.version_info[:2])')"
}

checkov() {
  local folder
  folder=$(checkov_folder)
  [ ! -e "$folder/complete" ] || return 0
  quietly "virtual environment $folder" "${root[@]}" "$python" -m venv --clear "$folder"
  quietly "install of $checkov_package" "${root[@]}" "$folder/bin/python" -m pip install --no-compile "$checkov_package"
  quietly "install of $checkov_package" "${root[@]}" touch "$folder/complete"
}

# The schema of user data, out of Debian's package. The package itself is not installed: it would set up this machine
# anew at its next boot.
cloud_init() {
  local scratch
  [ ! -e "$cache/cloud-init/complete" ] || return 0
  scratch=$(mktemp -d)
  chmod 755 "$scratch"
  quietly "apt-get update" "${root[@]}" apt-get -q update
  (cd "$scratch" && quietly "download of cloud-init" apt-get -q download cloud-init)
  quietly "unpacking cloud-init" "${root[@]}" dpkg -x "$scratch"/cloud-init_*.deb "$cache/cloud-init"
  quietly "unpacking cloud-init" "${root[@]}" touch "$cache/cloud-init/complete"
  rm -rf "$scratch"
}

terraform() {
  local program plugin folder scratch
  [ -n "$python" ] || give_up "there is no python3"
  quietly "mkdir $cache" "${root[@]}" mkdir -p "$cache"
  program=$(type -P terraform || find / -xdev -type f -name terraform -perm -u+x -print -quit 2>/dev/null || true)
  [ -n "$program" ] || give_up "there is no terraform on this machine: https://developer.hashicorp.com/terraform/install"
  quietly "link to terraform" "${root[@]}" ln -sfn "$program" "$cache/terraform"
  plugin=${RAS_TEST_TF_PLUGIN_DIR:-}
  if [ -z "$plugin" ]; then
    plugin=$(find / -xdev -type f -path '*/registry.terraform.io/hashicorp/aws/*/terraform-provider-aws*' -not -path '*/.terraform/*' -print -quit 2>/dev/null || true)
    [ -n "$plugin" ] || give_up "there is no AWS provider on this machine: terraform providers mirror, then RAS_TEST_TF_PLUGIN_DIR"
    plugin=${plugin%/registry.terraform.io/*}
  fi
  quietly "link to providers" "${root[@]}" ln -sfn "$plugin" "$cache/terraform-plugins"
  cloud_init
  checkov
  apt_install curl # of the machines' own scripts
  folder=$(azurerm_folder)
  if [ ! -e "$folder/complete" ]; then
    scratch=$(mktemp -d)
    quietly "download of $azurerm_package" "$python" -m pip download --no-deps --dest "$scratch" "$azurerm_package"
    quietly "install of $azurerm_server" "$python" -m pip install --target "$scratch/lib" "$azurerm_server"
    quietly "mkdir $folder" "${root[@]}" mkdir -p "$folder"
    quietly "copy to $folder" "${root[@]}" cp -r "$scratch/." "$folder"
    quietly "copy to $folder" "${root[@]}" touch "$folder/complete"
    rm -rf "$scratch"
  fi
  say "terraform: $program, $plugin"
}

# The folder of the build that fits this checkout: named after everything that goes into it.
wine_folder() {
  local requirements key
  requirements=$("$python" "$repo/tests/wine/requirements.py")
  key=$(printf '%s\n' "$requirements" | cat - "$repo/tests/wine/build.sh" | sha256sum | cut -c 1-12)
  printf '%s\n' "$cache/wine-$key"
}

# Mirror of Debian that this machine's apt uses (sources in either format); nothing on Ubuntu.
debian_mirror() {
  local files=() file
  for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -r "$file" ] && files+=("$file")
  done
  [ "$system" = debian ] && [ ${#files[@]} -gt 0 ] || return 0
  awk '
    function found(uri) { sub(/\/+$/, "", uri); if (uri ~ /\/debian$/) { print uri; exit } }
    /^[[:space:]]*#/ { next }
    /^URIs:/ { for (i = 2; i <= NF; i++) found($i) }
    /^deb[[:space:]]/ { sub(/\[[^]]*\]/, ""); found($2) }
  ' "${files[@]}"
}

wine() {
  local folder mirror started=$SECONDS
  [ -n "$python" ] || give_up "there is no python3"
  [ "$(dpkg --print-architecture)" = amd64 ] || give_up "Windows programs need an amd64 machine"
  apt_install debootstrap debian-archive-keyring
  "$python" -m pip --version >/dev/null 2>&1 || apt_install python3-pip
  folder=$(wine_folder)
  if [ -e "$folder/complete" ]; then
    say "wine: $folder is complete"
    return
  fi
  mirror=${RAS_TEST_DEBIAN_MIRROR:-$(debian_mirror)}
  say "wine: building $folder (1 to 3 minutes, 2 GB)"
  quietly "mkdir $cache" "${root[@]}" mkdir -p "$cache"
  # The build has its own mount and process namespaces: whatever happens, nothing stays mounted and nothing runs on.
  quietly "build of Windows CPython under wine" "${root[@]}" flock "$cache/wine.lock" unshare --mount --propagation private --pid --fork --kill-child \
    bash "$repo/tests/wine/build.sh" "$folder" "$python" "$repo/tests/wine/requirements.py" "$mirror"
  say "wine: built in $((SECONDS - started)) s"
}

# The base image that fits this checkout: named after the script that builds it.
docker_base() {
  printf '%s/docker-base-%s.tar\n' "$cache" "$(sha256sum "$repo/tests/docker/build.sh" | cut -c 1-12)"
}

docker() {
  local base mirror started=$SECONDS
  command -v dockerd >/dev/null || apt_install docker.io # one from elsewhere does as well
  apt_install debootstrap debian-archive-keyring
  base=$(docker_base)
  if [ -e "$base" ]; then
    say "docker: $(dockerd --version), $base"
    return
  fi
  mirror=${RAS_TEST_DEBIAN_MIRROR:-$(debian_mirror)}
  say "docker: building $base (1 to 3 minutes, 300 MB)"
  quietly "mkdir $cache" "${root[@]}" mkdir -p "$cache"
  quietly "base image of the Docker tests" "${root[@]}" flock "$cache/docker.lock" unshare --mount --propagation private --pid --fork --kill-child \
    bash "$repo/tests/docker/build.sh" "$base" "$mirror"
  say "docker: built in $((SECONDS - started)) s"
}

windows() {
  # The tests start an smbd of their own. Where there was none, the package's is not to serve this machine.
  local fresh=
  command -v smbd >/dev/null || fresh=1
  apt_install samba smbclient
  if [ -n "$fresh" ] && command -v systemctl >/dev/null; then
    "${root[@]}" systemctl disable --now smbd.service nmbd.service >>"$log" 2>&1 || true
  fi
  say "windows: smbd $(/usr/sbin/smbd --version)"
}

# For tests/wine/wine.py: where the build that fits this checkout is, or would be.
if [ "${1:-}" = wine-folder ]; then
  wine_folder
  exit
fi
# For tests/ansible/conftest.py: the same.
if [ "${1:-}" = ansible-collections ]; then
  ansible_collections
  exit
fi
# For tests/docker/daemon.py: the same.
if [ "${1:-}" = docker-base ]; then
  docker_base
  exit
fi
# For tests/terraform/test_policy.py: the same.
if [ "${1:-}" = checkov-folder ]; then
  checkov_folder
  exit
fi
# For tests/dask/test_object_storage.py: the same.
if [ "${1:-}" = s3fs-folder ]; then
  s3fs_folder
  exit
fi
# For tests/terraform/azure.py: the same.
if [ "${1:-}" = azurerm-folder ]; then
  azurerm_folder
  exit
fi
sections=("$@")
known="ansible browser dask docker slurm ssh terraform windows wine"
[ $# -gt 0 ] || read -ra sections <<<"$known"
for section in "${sections[@]}"; do
  case " $known " in *" $section "*) ;; *) say "unknown section: $section (known: $known)"; exit 2 ;; esac
done
system=
if [ -r /etc/os-release ]; then
  system=$(. /etc/os-release && case " $ID ${ID_LIKE:-} " in *\ ubuntu\ *) echo ubuntu ;; *\ debian\ *) echo debian ;; esac)
fi
root=()
[ "$(id -u)" = 0 ] || root=(sudo -n)

run_section() {
  [ -n "$system" ] || give_up "this is neither Debian nor Ubuntu"
  "${root[@]}" true 2>/dev/null || give_up "neither root nor sudo without a password"
  "$section"
}

failed=0
for section in "${sections[@]}"; do
  # Not "( ... ) || failed=1": that would switch off errexit inside.
  set +e
  (set -e; run_section)
  [ $? -eq 0 ] || failed=1
  set -e
done
[ $failed = 1 ] || rm -f "$log"
[ "${CI:-}" != true ] || exit $failed
