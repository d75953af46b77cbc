package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/migrations"
)

// versionTable is where goose keeps which migrations were applied.
const versionTable = ownSchema + ".schema_version"

// Migrate applies what is missing of the migrations, each in a transaction. One
// agent at a time does: goose's own session lock comes too late for that, it
// looks at the version table, and creates it, before it locks.
func (s *Sink) Migrate(ctx context.Context) (applied []int64, err error) {
	op := "migrate " + s.location
	lock, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer closeConn(ctx, lock) // and with it the lock
	if _, err := lock.Exec(ctx, "SELECT pg_advisory_lock($1)", lockKey("migrate")); err != nil {
		return nil, fault(ctx, op, err)
	}
	db := stdlib.OpenDB(*s.config)
	defer func() { _ = db.Close() }() // an error of its connections changes nothing
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Postgres(),
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	newest := int64(0)
	for _, source := range provider.ListSources() {
		newest = max(newest, source.Version)
	}
	if err := admit(ctx, lock, newest); err != nil {
		return nil, fault(ctx, op, err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	for _, r := range results {
		applied = append(applied, r.Source.Version)
	}
	return applied, nil
}

// admit makes the schema if there is none, and refuses a database that a newer
// program migrated.
func admit(ctx context.Context, conn *pgx.Conn, newest int64) error {
	// Not CREATE SCHEMA IF NOT EXISTS, which wants the privilege also where the
	// schema exists.
	var schema, versions bool
	const query = "SELECT to_regnamespace('" + ownSchema + "') IS NOT NULL, to_regclass('" + versionTable + "') IS NOT NULL"
	if err := conn.QueryRow(ctx, query).Scan(&schema, &versions); err != nil {
		return err
	}
	if !schema {
		_, err := conn.Exec(ctx, "CREATE SCHEMA "+ownSchema+"; COMMENT ON SCHEMA "+ownSchema+" IS 'The agent''s own tables: its ledger, runs and reads.'")
		return err
	}
	if !versions {
		return nil
	}
	var version int64
	if err := conn.QueryRow(ctx, "SELECT COALESCE(max(version_id), 0) FROM "+versionTable+" WHERE is_applied").Scan(&version); err != nil {
		return err
	}
	if version > newest {
		return &sink.Error{
			Fault: sink.FaultVersion, Op: "migrate",
			Err:  fmt.Errorf("the tables in schema %s are of version %d, this program knows up to %d", ownSchema, version, newest),
			Hint: "a newer winch has used this database: upgrade this one",
		}
	}
	return nil
}
