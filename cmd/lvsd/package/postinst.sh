#!/bin/sh
# After installing or upgrading: the user, the unit. It starts nothing that did
# not run: the configuration is yours to write first.
set -e
root=${DPKG_ROOT:-} # another than this machine's, as dpkg --root has it
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers --root="$root/" lvsd.conf
elif [ -z "$root" ] && ! getent passwd lvsd >/dev/null; then
	useradd --system --home-dir /var/lib/lvsd --shell /usr/sbin/nologin lvsd
fi
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl restart systemd-modules-load.service || :
	# An upgrade: the kernel's table is not touched.
	systemctl try-restart lvsd.service || echo 'lvsd: the restart failed, see journalctl -u lvsd' >&2
fi
[ -e "$root/etc/lvsd/lvsd.toml" ] || echo 'lvsd: on a director, write /etc/lvsd/lvsd.toml (examples in /usr/share/doc/lvsd), test it with `lvsd check --host`, then: systemctl enable --now lvsd'
