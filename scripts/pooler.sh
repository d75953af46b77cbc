#!/usr/bin/env bash
# Runs the PostgreSQL sink's suite through PgBouncer in session mode, and sees that
# the other modes are refused. Where PgBouncer is missing it is installed, which
# wants Debian's apt-get and root.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin
if ! command -v pgbouncer >/dev/null; then
	apt-get install --yes --no-install-recommends pgbouncer || {
		echo "pgbouncer is missing: install it, such as by 'apt-get install pgbouncer' as root" >&2
		exit 1
	}
fi
pgbouncer --version | head -n 1
go test -count=1 -tags pgbouncer -run PgBouncer ./internal/sink/postgres
