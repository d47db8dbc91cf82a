#!/bin/sh
# Runs the black-box tests on a kernel with ip_vs. User-Mode Linux has one
# processor: there two kernels run half of the tests each, at once. On this
# machine's own kernel, which the tests share, one run does all.
#
#	run.sh [REGEXP]      LVSD_BIN and LVSD_REQUIRE_KERNEL as the tests want them
set -eu
cd "$(dirname "$0")"
uml=../bin/uml
tests=$PWD/../bin/integration.test
log=../bin/integration-second-half.log

part() { "$uml" -- "$tests" -test.v -test.timeout 18m ${1:+-test.run "$1"}; }

# half N answers a regular expression for every second test from the Nth on.
half() { "$tests" -test.list '^Test' | grep '^Test' | awk -v n="$1" 'NR % 2 == n % 2 { t = t (t ? "|" : "") $1 } END { print "^(" t ")$" }'; }

if [ -n "${1:-}" ] || [ "$(nproc)" -lt 2 ] || "$uml" --mode direct -- true 2>/dev/null; then
	part "${1:-}"
	exit
fi
part "$(half 2)" >"$log" 2>&1 &
other=$!
trap 'kill $other 2>/dev/null || :' EXIT
failed=0
part "$(half 1)" || failed=1
wait $other || failed=1
trap - EXIT
cat "$log"
exit $failed
