#!/bin/sh
# Runs the black-box tests on a kernel with ip_vs. User-Mode Linux has one
# processor: there two kernels run half of the tests each, at once. On this
# machine's own kernel, which the tests share, one run does all.
#
# That kernel stands still for hundreds of milliseconds when the machine below is
# busy, and some tests are about such times. So up to three tests that failed are
# run once more, by themselves; that is said aloud, and what failed stays in the
# output. One that fails twice, or a fourth, fails the run.
#
#	run.sh [REGEXP]      LVSD_BIN and LVSD_REQUIRE_KERNEL as the tests want them;
#	                     those of a REGEXP run in one kernel, unless HALVES=1
set -eu
cd "$(dirname "$0")"
uml=../bin/uml
tests=$PWD/../bin/integration.test
logs=../bin/integration

part() { "$uml" -- "$tests" -test.v -test.timeout 18m ${1:+-test.run "$1"}; }

# list names the tests. Those of `make test-oncall` are run by that alone: they need
# more packages, and time.
only=${1:-}
list() { "$tests" -test.list "${only:-^Test}" | grep '^Test' | if [ -n "$only" ]; then cat; else grep -v '^TestOncall'; fi; }

# half N answers a regular expression for every second test from the Nth on.
half() { list | awk -v n="$1" 'NR % 2 == n % 2 { t = t (t ? "|" : "") $1 } END { print "^(" t ")$" }'; }

if [ -n "$only" ] && [ "${HALVES:-}" != 1 ]; then
	part "$only"
	exit
fi
if [ "$(nproc)" -lt 2 ] || "$uml" --mode direct -- true 2>/dev/null; then
	part "^($(list | tr '\n' '|'))\$"
	exit
fi
part "$(half 2)" >"$logs-2.log" 2>&1 &
second=$!
trap 'kill $second 2>/dev/null || :' EXIT
{ part "$(half 1)" && echo 0 >"$logs-1.status" || echo 1 >"$logs-1.status"; } 2>&1 | tee "$logs-1.log"
failed=$(cat "$logs-1.status")
wait $second || failed=1
trap - EXIT
cat "$logs-2.log"
[ "$failed" = 1 ] || exit 0

names=$(sed -n 's/^--- FAIL: \([^ ]*\) .*/\1/p' "$logs-1.log" "$logs-2.log" | sort -u)
count=$(printf '%s' "$names" | grep -c . || :)
# A run that ended without a verdict on each test is no failure of a test.
if [ "$count" -eq 0 ] || [ "$count" -gt 3 ] || grep -q '^panic:\|^fatal error:' "$logs-1.log" "$logs-2.log"; then
	exit 1
fi
echo "run.sh: FAILED, and run once more by themselves:" $names
part "^($(printf '%s' "$names" | tr '\n' '|'))\$" || exit 1
echo "run.sh: PASSED at the second run only:" $names
