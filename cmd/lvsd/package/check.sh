#!/bin/sh
# What can be checked of a release without a network, after `make package`. VERSION and
# PKG_VERSION are those of the build. It says what it could not check.
set -eu
failed=
fail() { echo "release-check: $*" >&2; failed=1; }
skip() { echo "release-check: not checked: $*"; }

release=$(cat VERSION)
case $VERSION in
"$release") grep -q "^## \[$release\] - [0-9]" CHANGELOG.md || fail "CHANGELOG.md has no date for $release" ;;
*) skip "the changelog's date: $VERSION is not a release" ;;
esac
grep -q "^### $release\$" docs/upgrading.md || fail "docs/upgrading.md says nothing of $release"

said=$(bin/lvsd version | sed -n 's/^lvsd \([^ ]*\) .*/\1/p')
[ "$said" = "$VERSION" ] || fail "bin/lvsd is $said, not $VERSION: make build"
grep -q "purl.*pkg:golang/lvsd@$VERSION?.*#cmd/lvsd" bin/lvsd.cdx.json || fail "bin/lvsd.cdx.json is not of $VERSION: make sbom"
for deb in bin/packages/*.deb; do
	[ "$(dpkg-deb -f "$deb" Version)" = "$PKG_VERSION" ] || fail "$deb has version $(dpkg-deb -f "$deb" Version)"
	contents=$(dpkg-deb -c "$deb")
	for file in usr/sbin/lvsd usr/lib/systemd/system/lvsd.service usr/share/man/man8/lvsd.8.gz usr/share/man/man5/lvsd.toml.5.gz \
		usr/share/doc/lvsd/copyright usr/share/doc/lvsd/changelog.gz usr/share/doc/lvsd/CHANGELOG.md usr/share/doc/lvsd/lvsd.cdx.json; do
		echo "$contents" | grep -q " \./$file\$" || fail "$deb lacks /$file"
	done
	if command -v lintian >/dev/null; then
		lintian --fail-on error "$deb" || fail "lintian finds errors in $deb"
	fi
done
command -v lintian >/dev/null || skip "the rules of Debian's packages (lintian is not installed)"
for rpm in bin/packages/*.rpm; do
	if command -v rpmlint >/dev/null; then
		rpmlint -r cmd/lvsd/package/rpmlintrc "$rpm" || fail "rpmlint finds errors in $rpm"
	fi
done
command -v rpmlint >/dev/null || skip "the rules of rpm packages (rpmlint is not installed)"
[ -z "$failed" ] || exit 1
echo "release-check: $VERSION, $(ls bin/packages | wc -l) packages"
