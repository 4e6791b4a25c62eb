#!/bin/bash
# Builds the base image of the Docker and Ansible tests: Debian with Python, numpy, h5py, an SSH server and sudo. As root, in namespaces of its own.
#   build.sh TARBALL [MIRROR]        TARBALL gets its name last: what is there is whole
set -euo pipefail
tarball=$1 mirror=${2:-}
folder=$(mktemp -d "$tarball.XXXXXX")
trap 'rm -rf --one-file-system "$folder"' EXIT

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || { echo "no $keyring: install debian-archive-keyring (Ubuntu: it is in universe)"; exit 1; }
debootstrap --variant=minbase --keyring="$keyring" --include=python3-numpy,python3-h5py,openssh-server,sudo \
  bookworm "$folder/root" ${mirror:+"$mirror"}
rm -rf "$folder"/root/var/lib/apt/lists/* "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/usr/share/{doc,locale,man}
tar -C "$folder/root" -cf "$folder/base.tar" .
mv "$folder/base.tar" "$tarball"
