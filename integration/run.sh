#!/bin/sh
# Runs the black-box tests on a kernel with ip_vs: this machine's, or one that
# bin/uml boots. User-Mode Linux has one processor: there two kernels run half of the
# tests each, at once. This machine's own kernel, which the tests share, runs all in
# one go.
#
#	run.sh [REGEXP]      LVSD_BIN and LVSD_REQUIRE_KERNEL as the tests want them;
#	                     those of a REGEXP run in one kernel, unless HALVES=1
#	run.sh --part FILE   (in the kernel) runs what the file lists: lines of a test
#	                     binary, its folder and a regular expression of tests
#
# The test binaries are bin/integration/THEME.test, one for each folder of tests.
set -eu
cd "$(dirname "$0")/.."
uml=bin/uml
work=bin/integration

if [ "${1:-}" = --part ]; then
	failed=0
	while read -r binary folder names; do
		(cd "$folder" && "$binary" -test.v -test.timeout "${LIMIT:-18m}" -test.run "$names") </dev/null || failed=1
	done <"$2"
	exit $failed
fi

# list names the tests, one a line, each with its binary and its folder. Those of
# `make test-oncall` are run by that alone: they need more packages, and time.
only=${1:-}
tests=${only%%/*} # of a subtest the test
tests=${tests:-^Test}
list() {
	for binary in "$PWD/$work"/*.test; do
		folder=integration/$(basename "$binary" .test)
		(cd "$folder" && "$binary" -test.list "$tests") | grep '^Test' |
			if [ -n "$only" ]; then cat; else grep -v '^TestOncall'; fi | sed "s|^|$binary $folder |"
	done
}

# part N OF writes the file of every OF-th test from the Nth on.
part() {
	case $only in */*) subtests=$only ;; *) subtests= ;; esac
	awk -v n="$1" -v of="$2" -v subtests="$subtests" 'NR % of == n % of {
		k = $1 " " $2; if (!(k in t)) order[++m] = k; t[k] = t[k] (t[k] ? "|" : "") $3
	} END { for (i = 1; i <= m; i++) print order[i], subtests ? subtests : "^(" t[order[i]] ")$" }' "$work/list" >"$work/part-$1"
}

list >"$work/list"
[ -s "$work/list" ] || { echo "run.sh: no test matches $tests" >&2; exit 1; }

if "$uml" --mode direct -- true 2>/dev/null; then
	part 1 1
	LIMIT=${LIMIT:-80m} exec "$uml" --mode direct --timeout 90m -v -- sh integration/run.sh --part "$work/part-1"
fi
if [ "$(nproc)" -lt 2 ] || { [ -n "$only" ] && [ "${HALVES:-}" != 1 ]; }; then
	part 1 1
	exec "$uml" -- sh integration/run.sh --part "$work/part-1"
fi

part 1 2
part 2 2
"$uml" -- sh integration/run.sh --part "$work/part-2" >"$work/part-2.log" 2>&1 &
second=$!
trap 'kill $second 2>/dev/null || :' EXIT
status=0
"$uml" -- sh integration/run.sh --part "$work/part-1" || status=$?
other=0
wait $second || other=$?
trap - EXIT
cat "$work/part-2.log"
[ $status -eq 0 ] && [ $other -eq 0 ]
