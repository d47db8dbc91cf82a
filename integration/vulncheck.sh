#!/bin/sh
# Known vulnerabilities in what lvsd calls: vulncheck.sh GO TOOL@VERSION. The tool and its
# database come from the network; where they cannot be reached, that is said, and is a
# failure only with LVSD_REQUIRE_VULNDB=1.
go=$1 tool=$2
skip() {
	echo "$out" >&2
	echo "SKIPPED: known vulnerabilities were not looked up: $1" >&2
	[ -z "$LVSD_REQUIRE_VULNDB" ]
	exit
}
mkdir -p bin
out=$(GOBIN=$PWD/bin CGO_ENABLED=0 "$go" install "$tool" 2>&1) || skip "the tool cannot be had"
out=$(CGO_ENABLED=0 bin/govulncheck ./cmd/... 2>&1)
case $? in
0) echo "$out" | tail -n 1 ;;
3) # found
	echo "$out" >&2
	exit 1
	;;
*) skip "the database cannot be reached" ;;
esac
