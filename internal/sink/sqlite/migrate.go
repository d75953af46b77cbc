package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/migrations"
)

// migrationTable is where goose remembers what was applied, as SQL quotes it.
const migrationTable = `"winch.migrations"`

// Migrate implements sink.Sink. Where there is something to apply it waits for an
// agent that pulls into the file.
func (s *Sink) Migrate(ctx context.Context) ([]int64, error) {
	const op = "migrate"
	done, err := s.turn(ctx)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer done()
	// Its own connections: the provider closes them.
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.writers, migrations.SQLite(),
		goose.WithTableName(migrationTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	if pending, err := s.pending(ctx, provider); err != nil || !pending {
		return nil, err
	}
	unlock, err := s.locks.wait(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if pending, err := s.pending(ctx, provider); err != nil || !pending {
		return nil, err
	}
	results, err := provider.Up(ctx)
	var applied []int64
	for _, r := range results {
		applied = append(applied, r.Source.Version)
	}
	return applied, fault(ctx, op, err)
}

// pending reports whether there is something to apply, and refuses a file that a
// newer program migrated.
func (s *Sink) pending(ctx context.Context, provider *goose.Provider) (bool, error) {
	const op = "read version of " + migrationTable
	var there bool
	if err := s.readers.QueryRowContext(ctx,
		`SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'winch.migrations')`).Scan(&there); err != nil {
		return false, fault(ctx, op, err)
	}
	if !there {
		return true, nil
	}
	var version sql.NullInt64
	if err := s.readers.QueryRowContext(ctx, `SELECT max(version_id) FROM `+migrationTable).Scan(&version); err != nil {
		return false, fault(ctx, op, err)
	}
	sources := provider.ListSources()
	newest := sources[len(sources)-1].Version
	if version.Int64 > newest {
		return false, &sink.Error{
			Fault: sink.FaultVersion, Op: "migrate " + s.path,
			Err:  fmt.Errorf("the file is at version %d, this program knows up to %d", version.Int64, newest),
			Hint: "use the newer winch that wrote it, or another file",
		}
	}
	return version.Int64 < newest, nil
}

// migratePatience is how long Migrate waits for an agent that pulls.
const migratePatience = 10 * time.Second
