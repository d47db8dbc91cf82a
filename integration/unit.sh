#!/bin/sh
# Runs unit tests and prints what failed; at the end, which tests could not run on this
# machine and why. `go test` hides that of a package that passes.
#
#	unit.sh PACKAGE…     GO as in the Makefile
set -u
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
CGO_ENABLED=0 ${GO:-go} test -v "$@" >"$log" 2>&1 || status=$?
if [ $status -eq 0 ]; then
	grep '^ok' "$log"
else
	grep -vE '^(=== |--- PASS|[[:space:]]+--- PASS|PASS$|ok |\?)' "$log"
fi
skipped=$(grep -c 'SKIPPED' "$log")
if [ "$skipped" -gt 0 ]; then
	echo "NOT TESTED: $skipped tests did not run here (root may run them: sudo make check):"
	sed -n 's/.*SKIPPED/SKIPPED/p' "$log" | sort | uniq -c
fi >&2
exit $status
