#!/usr/bin/env bash
# Builds an older winch from git and lets its agents and those of this tree serve one
# database side by side. Without an argument, the older one is the newest commit that
# lacks the last of our migrations and has those before as they are now, or the parent
# of HEAD.
set -euo pipefail
cd "$(dirname "$0")/.."

migrations() { git ls-tree -r "$1" -- migrations/postgres | sort -k 4; }

# precedes tells whether a commit's migrations are the first ones of ours.
precedes() {
	local theirs
	theirs=$(migrations "$1")
	[ -n "$theirs" ] && [ "$theirs" != "$(migrations HEAD)" ] &&
		[ "$theirs" = "$(migrations HEAD | head -n "$(wc -l <<<"$theirs")")" ]
}

old=${1:-}
if [ -z "$old" ]; then
	for parent in $(git log --format=%P -- migrations) $(git rev-parse HEAD^); do
		old=$parent
		! precedes "$parent" || break
	done
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
git archive "$old" | tar -x -C "$dir/src"
version=$(git describe --tags --always "$old")
(cd "$dir/src" && go build -trimpath -ldflags "-X main.version=$version" -o "$dir/winch" ./cmd/agent)
echo "beside this tree: winch $version"
WINCH_TEST_NEIGHBOUR=$dir/winch go test -run '^$' -bench '^BenchmarkNeighbours$' -benchtime 1x -timeout 30m ./cmd/agent
