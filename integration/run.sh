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
logs=../bin/integration/kernel

# list prints a line "BINARY TEST" for each test. Those of `make test-oncall` are run
# by that alone: they need more packages, and time.
only=${1:-}
list() {
	for binary in "$PWD"/../bin/integration/*.test; do
		"$binary" -test.list "${only:-^Test}" | grep '^Test' | sed "s|^|$binary |"
	done | if [ -n "$only" ]; then cat; else grep -v ' TestOncall'; fi
}

# part runs tests in one kernel: those of the lines of list that it reads, or of them
# only what matches a regular expression.
part() {
	"$uml" -- sh -c "$(awk -v only="${1:-}" '
		{ tests[$1] = tests[$1] (tests[$1] ? "|" : "") $2 }
		END {
			for (binary in tests)
				print binary " -test.v -test.timeout 18m -test.run \047" (only ? only : "^(" tests[binary] ")$") "\047 || failed=1"
			print "exit ${failed:-0}"
		}')"
}

half() { list | awk -v n="$1" 'NR % 2 == n % 2'; }

if [ -n "$only" ] && [ "${HALVES:-}" != 1 ]; then
	regexp=$only
	only=${only%%/*} # of a subtest the test
	[ -n "$(list)" ] || { echo "run.sh: no test matches $regexp" >&2; exit 1; }
	list | part "$regexp"
	exit
fi
if [ "$(nproc)" -lt 2 ] || "$uml" --mode direct -- true 2>/dev/null; then
	list | part
	exit
fi
half 2 | part >"$logs-2.log" 2>&1 &
second=$!
trap 'kill $second 2>/dev/null || :' EXIT
{ half 1 | part && echo 0 >"$logs-1.status" || echo 1 >"$logs-1.status"; } 2>&1 | tee "$logs-1.log"
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
list | grep -E " ($(printf '%s' "$names" | tr '\n' '|'))\$" | part || exit 1
echo "run.sh: PASSED at the second run only:" $names
