#!/bin/sh
# Before removing, and not before an upgrade: dpkg says "remove", rpm says 0.
set -e
case "$1" in
remove | 0)
	if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
		systemctl disable --now lvsd.service lvsd-host.service || :
		# A template is disabled with all its instances, and stopped by a pattern.
		systemctl disable lvsd-realserver@.service || :
		systemctl stop 'lvsd-realserver@*.service' || :
	fi
	;;
esac
