#!/bin/sh
# Runs the black-box tests on a kernel with ip_vs: this machine's, or one that
# bin/uml boots, in one go.
#
#	run.sh [REGEXP]      LVSD_BIN and LVSD_REQUIRE_KERNEL as the tests want them
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
		(cd "$folder" && "$binary" -test.v -test.timeout 80m -test.run "$names") </dev/null || failed=1
	done <"$2"
	exit $failed
fi

# Two runs would overwrite each other's lists.
exec 9>"$work/lock"
flock -n 9 || { echo "run.sh: another run is active in $PWD" >&2; exit 1; }

# list names the tests, one a line, each with its binary and its folder. Those of
# `make test-oncall`, `make test-servers` and `make test-release` are run by these alone:
# they need more packages, and time.
only=${1:-}
tests=${only%%/*} # of a subtest the test
tests=${tests:-^Test}
list() {
	for binary in "$PWD/$work"/*.test; do
		folder=integration/$(basename "$binary" .test)
		(cd "$folder" && "$binary" -test.list "$tests") | grep '^Test' |
			if [ -n "$only" ]; then cat; else grep -vE '^Test(Oncall|Servers|Release|AnycastConnections)'; fi | sed "s|^|$binary $folder |"
	done
}

# runs tells what is to run, out of such lines: a binary, its folder and its tests a line.
case $only in */*) subtests=$only ;; *) subtests= ;; esac
runs() {
	awk -v subtests="$subtests" '{
		k = $1 " " $2; if (!(k in t)) order[++m] = k; t[k] = t[k] (t[k] ? "|" : "") $3
	} END { for (i = 1; i <= m; i++) print order[i], subtests ? subtests : "^(" t[order[i]] ")$" }'
}

list >"$work/list"
[ -s "$work/list" ] || { echo "run.sh: no test matches $tests" >&2; exit 1; }

runs <"$work/list" >"$work/part"

# Two booted kernels at once, each with half of the tests, take as long: one kernel
# and its processes keep two processors busy, and alone it stands still less.
failed=0
rm -f "$work/other"
LVSD_OTHER_KERNEL=$PWD/$work/other "$uml" --timeout 90m -v -- sh integration/run.sh --part "$work/part" 9>&- || failed=1

# What that kernel lacks, the installed one may have.
if [ -s "$work/other" ]; then
	sed 's|/.*||' "$work/other" | sort -u | awk 'NR == FNR { want[$1]; next } $3 in want' - "$work/list" | runs >"$work/part"
	echo "run.sh: on the installed User-Mode Linux, as this kernel has no iptables: $(sort -u "$work/other" | tr '\n' ' ')" >&2
	"$uml" --mode uml --kernel installed --timeout 90m -v -- sh integration/run.sh --part "$work/part" 9>&- || failed=1
fi
exit $failed
