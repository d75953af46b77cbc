#!/usr/bin/env bash
# Builds an older winch from git and lets its agents and those of this tree serve one
# database side by side. Without an argument, the older one is the newest commit
# before the last change of migrations, or the parent of HEAD.
set -euo pipefail
cd "$(dirname "$0")/.."
old=${1:-}
if [ -z "$old" ]; then
	changed=$(git log -1 --format=%H -- migrations)
	old=$(git rev-parse --verify --quiet "${changed:-HEAD}^" || git rev-parse HEAD)
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
git archive "$old" | tar -x -C "$dir/src"
version=$(git describe --tags --always "$old")
(cd "$dir/src" && go build -trimpath -ldflags "-X main.version=$version" -o "$dir/winch" ./cmd/agent)
echo "beside this tree: winch $version"
WINCH_TEST_NEIGHBOUR=$dir/winch go test -run '^$' -bench '^BenchmarkNeighbours$' -benchtime 1x -timeout 30m ./cmd/agent
