#!/bin/sh
# Makes the image of the Containerfile, as bin/image.tar. Its base is the tree of Debian that
# `make deps-release` has unpacked, so that no registry is asked; packages come from Debian.
set -eu
[ "$(id -u)" = 0 ] || exec sudo -- "$0"
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
own="podman --root $store/root --runroot $store/run --tmpdir $store/tmp --storage-driver vfs"
tar -C bin/debian/trixie --exclude='./var/cache/apt/archives/*.deb' -c . | $own import -q - localhost/debian
$own build -q --from localhost/debian --isolation=chroot --network=host --squash-all -t lvsd .
rm -f bin/image.tar
$own save -q -o bin/image.tar lvsd
