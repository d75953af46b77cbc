#!/usr/bin/env bash
# Records the CPU profiles of pulls of each kind, agents' and connectors', and puts
# them together as cmd/agent/default.pgo, by which the compiler decides what to inline
# and to devirtualize (https://go.dev/doc/pgo). Worth a run when a hot path changes;
# an old profile does no harm.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go test -c -trimpath -o "$dir/bench.test" ./internal/bench
mkdir "$dir/profiles"
WINCH_BENCH_PROFILE=$dir/profiles WINCH_BENCH_PAIRS=3 "$dir/bench.test" -test.run '^$' -test.bench '^BenchmarkPull$' -test.benchtime 1x
go tool pprof -proto "$dir"/profiles/*.pprof >"$dir/default.pgo"
mv "$dir/default.pgo" cmd/agent/default.pgo
