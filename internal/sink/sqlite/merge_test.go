package sqlite

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/winchdata/winch/pkg/connector"
)

// Or a slice with checkpoints takes as long as the square of its rows.
func TestKeysOfEarlierCheckpointsAreLookedUp(t *testing.T) {
	t.Parallel()
	for typ := range columnTypes {
		stream := connector.Stream{
			Name: "things", Mode: connector.ModeWindow, PrimaryKey: []string{"key", "id"}, TimeColumn: "at",
			Columns: []connector.Column{
				{Name: "id", Type: connector.TypeBigint}, {Name: "key", Type: typ}, {Name: "at", Type: connector.TypeTimestamp},
			},
		}
		table := newTable("shop_se", stream)
		statements := newStatements(table)
		db, err := sql.Open("sqlite", ":memory:")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1) // each has its own memory
		for _, query := range []string{table.create(), statements.createStage, statements.index, statements.createSeen, statements.createSpared} {
			if _, err := db.Exec(query); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
		for _, query := range []string{statements.classifySeen, statements.vanish} {
			if plan := planOf(t, db, query); !strings.Contains(plan, "SEARCH e USING PRIMARY KEY") {
				t.Errorf("key of type %s: plan of %s:\n%s", typ, query, plan)
			}
		}
	}
}

func planOf(t *testing.T, db *sql.DB, query string) (plan string) {
	t.Helper()
	rows, err := db.Query("EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan += step + "\n"
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}
