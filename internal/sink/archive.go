package sink

import (
	"context"
	"fmt"

	"github.com/winchdata/winch/pkg/connector"
)

// An Archive hands out a whole source and takes one in, so that what a store holds
// can move into another store, of whatever kind.
type Archive interface {
	// Sources returns the names of the sources that the store holds tables or
	// ledger rows of, in order.
	Sources(ctx context.Context) ([]string, error)

	// Export hands the source to the import, as it is at one moment: its own rows
	// of the agent's tables, then the streams' tables. It commits nothing.
	Export(ctx context.Context, source string, to Import) error

	// LastRun returns the highest id that a run of the store ever had, 0 before the
	// first. A run keeps its id where it travels to, plus a shift that is the same for
	// all that travel together.
	LastRun(ctx context.Context) (int64, error)
	// ReserveRuns sets aside ids for as many runs, of which none has been given
	// yet, and returns the shift that leads to them.
	ReserveRuns(ctx context.Context, n int64) (shift int64, err error)

	// Import begins to take in a source in one transaction, which holds tables,
	// rows and ledger: all of it is there after Commit, nothing before. A store
	// that holds anything of the source already is an error. The import must be
	// closed; ctx governs it until then.
	Import(ctx context.Context, source string, shift int64) (Import, error)
}

// An Import takes in the tables of one source, one after another. It is not safe
// for concurrent use.
type Import interface {
	// Table begins the next table. Rows of the table before are complete.
	Table(ctx context.Context, t ArchivedTable) error
	// Row takes in a row of the table that was begun last: a value for each of its
	// columns, nil for null. It does not keep the slices.
	Row(ctx context.Context, values [][]byte) error
	Commit(ctx context.Context) error
	// Close gives up what was not committed. It is safe after Commit and twice.
	Close() error
}

// An ArchivedTable is a table as it travels.
type ArchivedTable struct {
	// Name is a stream's name or, of the agent's own, one of OwnTables.
	Name string
	// Own says that the table is one of the agent's own.
	Own     bool
	Columns []ArchivedColumn
	// Key are the names of the primary key; empty for the agent's own tables,
	// which are there already.
	Key []string
	// Cut is how PostgreSQL partitions the table; zero for a whole one. Other stores
	// take the rows into one table.
	Cut ArchivedCut
}

// An ArchivedCut is a table's partitioning, in PostgreSQL's words.
type ArchivedCut struct {
	By     string // such as RANGE (at)
	Pieces []ArchivedPiece
}

// An ArchivedPiece is one partition.
type ArchivedPiece struct {
	Name  string
	Bound string // such as DEFAULT, or FOR VALUES FROM (...) TO (...)
}

// An ArchivedColumn is a column as it travels. Values are text: bigint, numeric,
// double and json as they are read, a boolean as 0 or 1, a date as 2006-01-02, a
// timestamptz as 2006-01-02T15:04:05.000000Z, bytes in lower-case hex. The bounds of
// a slice without a window are empty.
type ArchivedColumn struct {
	Name string
	Type connector.Type
	// Bytes says that the type is none of a connector's but bytes.
	Bytes bool
}

// OwnTables are the agent's own tables that belong to a source and so travel with
// it, in the order in which they do. A table comes after those that it names:
// runs name backfills, the others runs.
var OwnTables = []string{"backfills", "runs", "declarations", "slices", "reads", "quarantine", "schedules", "ticks", "pauses"}

// RunColumns are the columns that hold the id of a run, beside that of runs itself.
var RunColumns = map[string]bool{"run": true, "_winch_run": true}

// BackfillColumn is the column of runs that holds the id of a backfill.
const BackfillColumn = "backfill"

// Occupied is the error of an import into a store that holds the source already.
func Occupied(source, what string) error {
	return &Error{
		Fault: FaultSchema, Op: "import source " + source, Err: fmt.Errorf("the store already holds %s", what),
		Hint: "copy into a store that holds nothing of this source, or drop there what is not needed",
	}
}

// UnknownKey is the error of an export of a table of which nobody can tell by which
// key winch writes its rows.
func UnknownKey(source, table string, candidates int) error {
	err := &Error{
		Fault: FaultSchema, Op: "export source " + source,
		Err:  fmt.Errorf("table %s has no primary key or unique index by which winch could have written its rows", table),
		Hint: "pull the stream once, which says what the table lacks",
	}
	if candidates > 1 {
		err.Err = fmt.Errorf("table %s has %d keys, and does not tell by which winch writes its rows", table, candidates)
		err.Hint = "drop the unique indexes that are not the stream's key, copy, and make them again"
	}
	return err
}

// ForeignColumn is the error of an export of a column that no store of ours made.
func ForeignColumn(source, table, column, sqlType string) error {
	return &Error{
		Fault: FaultSchema, Op: "export source " + source,
		Err:  fmt.Errorf("column %s of table %s is of type %s, which winch never makes", column, table, sqlType),
		Hint: "it was added by hand: drop the column, copy, and add it again",
	}
}
