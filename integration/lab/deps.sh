#!/bin/sh
# Installs the Debian packages that the lab needs, and nothing when all are
# there. It never starts their services: a web server or a Prometheus that came
# with a test must not run on somebody's machine.
#
#	deps.sh           for the demonstration and `make test`
#	deps.sh oncall    and for `make test-oncall`: a browser, curl, an Alertmanager, a
#	                  systemd to boot in the lab, and what reads an .rpm
#	deps.sh release   and for `make test-release`, `make release-check` and `make repo`: the
#	                  judges of packages, makers of repositories, Debian's releases as
#	                  trees of files, a mail server, Ansible
#	deps.sh servers   and for `make test-servers`: the servers that dialogues are for
#	deps.sh kernels   and for `make test-kernels`: QEMU, and what unpacks the modules of
#	                  a kernel
set -eu

# prometheus brings promtool; iptables masquerades where the lab's kernel has no
# nftables for IPv4; gcc and libc6-dev are for Go's race detector;
# iputils-arping asks for virtual addresses; MariaDB, Redis and memcached are checked.
base='nginx libnginx-mod-mail dnsmasq-base ipvsadm prometheus keepalived frr bird2 nftables iptables openssl iputils-arping iproute2 kmod patch gcc libc6-dev mariadb-server-core mariadb-client-core redis-server memcached'
case ${1:-} in
oncall) base="$base chromium curl prometheus-alertmanager systemd rpm" ;;
release) base="$base curl systemd rpm lintian rpmlint apt-utils createrepo-c dnf gnupg debootstrap opensmtpd ansible-core python3-apt podman crun" ;;
servers) base="$base dovecot-imapd dovecot-pop3d vsftpd slapd postgresql freeradius rabbitmq-server kamailio rtsp-server-perl libcanlock3 apache2-bin haproxy openssh-server opensmtpd" ;;
kernels) base="$base qemu-system-x86 xz-utils" ;;
esac
policy=/usr/sbin/policy-rc.d
ours= # is the policy file ours?
updated=

say() { printf 'deps: %s\n' "$*"; }
fail() { printf 'deps: %s\n' "$*" >&2; exit 1; }

# Where this user is not root, root is asked for: only to install.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo -- "$@"
	fi
}

missing() {
	have=" $(dpkg-query -W -f '${Package}:${Status} ' "$@" 2>/dev/null | sed 's/:install ok installed//g') "
	for p in "$@"; do
		case $have in *" $p "*) ;; *) printf '%s ' "$p" ;; esac
	done
}

# This kernel's IPVS is of use only to root who may make network namespaces.
# Anybody else runs in User-Mode Linux, which needs no rights at all.
usable_ip_vs() {
	[ "$(id -u)" = 0 ] || return 1
	[ -e /proc/net/ip_vs ] || modprobe -q ip_vs 2>/dev/null || return 1
	[ -e /proc/net/ip_vs ] && unshare -n true 2>/dev/null
}

cleanup() {
	[ -z "$ours" ] || as_root rm -f "$policy"
}

install() {
	say "installing: $*"
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "not root and no sudo: install as root: apt-get install --no-install-recommends $*"
	# 101 is "not allowed": invoke-rc.d starts nothing. Somebody's own policy is respected.
	if [ ! -e "$policy" ] && [ -z "$ours" ]; then
		ours=1
		trap cleanup EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM HUP
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	if [ -z "$updated" ]; then
		as_root apt-get -q update
		updated=1
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "$@"
	# Nor do they start with the next boot.
	if [ -d /run/systemd/system ]; then
		for p in "$@"; do
			case $p in
			nginx | ipvsadm | prometheus | prometheus-alertmanager | keepalived | frr | redis-server | memcached | opensmtpd | vsftpd | slapd | postgresql | freeradius | rabbitmq-server | kamailio | rtsp-server-perl | haproxy) as_root systemctl disable --now "$p.service" || : ;;
			bird2) as_root systemctl disable --now bird.service || : ;;
			dovecot-imapd) as_root systemctl disable --now dovecot.service || : ;;
			openssh-server) as_root systemctl disable --now ssh.service || : ;;
			esac
		done
	fi
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
	lacking=
	for c in nginx ipvsadm promtool keepalived vtysh nft openssl arping ip modprobe patch gcc; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$c" >/dev/null || lacking="$lacking $c"
	done
	usable_ip_vs || [ -x /usr/bin/linux.uml ] || lacking="$lacking a-kernel-with-ip_vs-and-root"
	[ -z "$lacking" ] || fail "this is no Debian and I cannot install; missing:$lacking"
	exit 0
fi

want=$(missing $base)
[ -z "$want" ] || install $want
if ! usable_ip_vs; then
	# A newer kernel is fetched at the first run, and patchelf makes it find its C library.
	want=$(missing user-mode-linux patchelf)
	[ -z "$want" ] || install $want
fi

# The samples that tests convert, which are not ours to copy, a news server, which would
# bring a mail server, and ifupdown, which would set up the network: unpacked beside the
# build where the packages are not installed, with nothing that they depend on.
sample() { # PACKAGE FILE
	[ -e "/$2" ] || [ -e "bin/deps/$2" ] || {
		say "unpacking $1"
		mkdir -p bin/deps
		(cd bin/deps && apt-get -q download "$1" && dpkg -x "$1"_*.deb . && rm -f "$1"_*.deb) || say "no $1: its tests will say so"
	}
}
sample keepalived usr/share/doc/keepalived/samples/keepalived.conf.sample
sample ldirectord usr/share/doc/ldirectord/examples/ldirectord.cf

# Debian's releases, for what must work on each: a tree of the smallest installation.
tree() { # RELEASE
	[ -e "bin/debian/$1" ] || {
		say "unpacking Debian $1"
		mkdir -p bin/debian
		as_root rm -rf "bin/debian/$1.part"
		as_root debootstrap --variant=minbase "$1" "bin/debian/$1.part" >/dev/null
		as_root mv "bin/debian/$1.part" "bin/debian/$1"
	}
}
case ${1:-} in release) tree bookworm && tree trixie && sample ifupdown sbin/ifup ;; esac
[ "${1:-}" != servers ] || { sample inn2 usr/lib/news/bin/nnrpd && sample inn2-inews usr/lib/news/libinn.so.9; }
