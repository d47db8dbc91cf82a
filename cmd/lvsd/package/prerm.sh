#!/bin/sh
# Before removing, and not before an upgrade: dpkg says "remove", rpm says 0.
set -e
case "$1" in
remove | 0) [ -n "${DPKG_ROOT:-}" ] || [ ! -d /run/systemd/system ] || systemctl disable --now lvsd.service || : ;;
esac
