package postgres

import (
	"slices"
	"testing"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
)

// stays are the agent's tables that belong to a source and do not travel with it.
var stays = []string{
	"leases", // who pulls it at this moment, from this store
	"waits",  // who waits for it at this moment
}

func TestEveryTableOfASourceTravelsOrStaysForAReason(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)

	if _, err := open(t, address).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, row := range query(t, address, `SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'winch'::regnamespace AND c.relkind = 'r' AND a.attname = 'source'`) {
		if name := row[0]; slices.Contains(sink.OwnTables, name) == slices.Contains(stays, name) {
			t.Errorf("winch.%s holds what belongs to a source: name it in sink.OwnTables, or here with the reason", name)
		}
	}
}
