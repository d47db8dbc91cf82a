#!/bin/sh
# After removing: the configuration in /etc/lvsd and the history in /var/lib/lvsd
# stay; a purge (dpkg alone knows it) takes the history, and never the
# configuration, which the package did not write.
set -e
[ -n "${DPKG_ROOT:-}" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload || :
if [ "$1" = purge ]; then
	rm -rf "${DPKG_ROOT:-}/var/lib/lvsd"
fi
