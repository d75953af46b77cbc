#!/usr/bin/env bash
# Measures new rows with an older tree from git and with this one, in turn, so that
# both meet the same hours of the machine: a pair of floor and pipeline each time.
# Usage: scripts/bench-against.sh COMMIT [TIMES]
set -euo pipefail
cd "$(dirname "$0")/.."
old=${1:?which commit to measure beside this tree}
times=${2:-8}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
git archive "$old" | tar -x -C "$dir/src"
# build TREE OUTPUT: with the profile that the tree's agent is built with, if any.
build() (
	cd "$1"
	profile=$PWD/cmd/agent/default.pgo
	[ -f "$profile" ] || profile=off
	go test -c -pgo="$profile" -o "$2" ./internal/bench
)
build "$dir/src" "$dir/old.test"
build . "$dir/new.test"

for _ in $(seq "$times"); do
	for tree in old new; do
		echo "$tree $(WINCH_BENCH_PAIRS=1 WINCH_BENCH_KINDS=new "$dir/$tree.test" -test.run '^$' -test.bench '^BenchmarkPull$' -test.benchtime 1x |
			sed -n 's/^  winch: .* wall \([0-9.]*\).*/\1/p; s/^  ratio of wall time *\([0-9.]*\).*/\1/p; s/^  agent + plugin CPU against PostgreSQL.s *\([0-9.]*\).*/\1/p' | paste -sd ' ')"
	done
done | tee "$dir/all"
for tree in old new; do
	for column in 2 3 4; do
		case $column in
		2) what=seconds ;;
		3) what='of the floor' ;;
		4) what="of PostgreSQL's CPU, agent and plugin" ;;
		esac
		awk -v tree="$tree" -v column="$column" '$1 == tree { print $column }' "$dir/all" | sort -n |
			awk -v tree="$tree" -v what="$what" \
				'{ v[NR] = $1 } END { printf "%s: median %s %s (%s .. %s)\n", tree, v[int(NR/2)+1], what, v[1], v[NR] }'
	done
done
