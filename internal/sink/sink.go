// Package sink is the contract between a run and the store that its rows land in.
// Its sub-packages postgres and sqlite keep it; sinktest examines both.
package sink

import (
	"context"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

// A Sink is an open store. It holds the tables of the sources and, beside them,
// the agent's own: ledger, runs, reads. All methods may be called concurrently.
// Their errors are *Error where the store itself is at fault.
type Sink interface {
	History
	Schedules
	Backfills
	Declarations
	Yielding
	Quarantine
	Alerts
	Lineage
	Splitting

	// Migrate brings the agent's own tables to the version of this program,
	// under a lock, so that several agents may call it at the same time. It
	// returns the versions it applied, in order; none if all was up to date. A
	// store that a newer program migrated is an error.
	Migrate(ctx context.Context) (applied []int64, err error)

	Leases

	// Prepare makes the stream's table fit the stream by the policy: creates schema
	// and table, adds and widens columns, sets comments. It never drops or narrows
	// anything, and leaves what it did not declare alone. It returns the stream as
	// its records are to be written, which differs from the declared one where the
	// table is wider, or is not to be changed. An *Error of FaultSchema tells all
	// that cannot be made to fit, with what a person can run.
	Prepare(ctx context.Context, source string, stream connector.Stream, policy ledger.SchemaPolicy) (connector.Stream, error)

	// Begin starts writing one slice. The writer must be closed; ctx governs it
	// until then.
	Begin(ctx context.Context, a Attempt) (Writer, error)

	// Entries returns the ledger of a source, of all sources if it is empty.
	Entries(ctx context.Context, source string) ([]ledger.Entry, error)

	// Fail records that an attempt at a slice failed. Rows, cursor and counts of
	// earlier commits stay as they are.
	Fail(ctx context.Context, a Attempt, usage connector.Usage, cause error) error

	// StartRun records a run that begins and returns its id.
	StartRun(ctx context.Context, r Run) (id int64, err error)
	// FinishRun records the one outcome of a run. A run that has one keeps it.
	FinishRun(ctx context.Context, id int64, end RunEnd) error
	// Runs returns the newest runs first, of one source or of all if it is empty.
	Runs(ctx context.Context, source string, limit int) ([]Run, error)
	// RunByID returns a run and its reads in the order they ended, or an error
	// that wraps ErrNoRun.
	RunByID(ctx context.Context, id int64) (Run, []Read, error)

	Archive
	Pruner

	// Location says where the data lies, for people: never with a password.
	Location() string

	Close() error
}

// An Attempt is one try at reading one slice.
type Attempt struct {
	Run   int64
	Slice ledger.Slice
	// Stream is as Prepare returned it.
	Stream connector.Stream
	// Split is how the stream's table was prepared.
	Split ledger.Split
	// Resumed says that the slice goes on from a committed cursor. What was
	// written before is then unknown to this attempt, so nothing is deleted.
	Resumed bool
	// Brake limits how many rows may vanish by the attempt's Commit, which beyond
	// it is refused with a *ledger.Vanished and changes nothing; nil: no limit.
	Brake *ledger.Brake
	// StartedAt is when the attempt began; it becomes the rows' _winch_seen_at. By
	// it and Run an attempt knows what it wrote itself: no two attempts at slices
	// of a stream share both.
	StartedAt time.Time
	// Declared is recorded as what the stream was read as, with the attempt's first
	// Checkpoint or Commit and in its transaction; nil: that is recorded already.
	Declared *ledger.Declaration
	// Clock is told how long the writer's stages take; nil if nobody asks. What
	// it shows is recorded with the read.
	Clock *Clock
}

// A Writer takes the records of one slice. It is not safe for concurrent use.
//
// Rows become visible with Checkpoint or Commit, each of which is one
// transaction that holds the rows, the ledger row, the cursor and the counts
// (I1). A writer that is closed without Commit leaves no trace of the rows since
// the last Checkpoint.
type Writer interface {
	// Record decodes one record by the stream's columns and stages it. It blocks
	// while the store is behind and does not keep raw. An error that wraps a
	// *record.Error is the record's fault, any other the store's.
	Record(raw []byte) error
	// Quarantine sets aside a record that Record refused with the cause. It is
	// kept with the rows of the same Checkpoint or Commit, in their transaction
	// (I1), without what Secret columns read (P10). A row at rest with its key
	// counts as reported and is not taken for vanished; if the key of any such
	// record cannot be read, nothing is. A record of the same key that is read
	// later supersedes it, in this attempt or another.
	//
	// Commit of an attempt that is not Resumed replaces what earlier reads of
	// the slice had set aside.
	Quarantine(raw []byte, cause *record.Error) error
	// Checkpoint commits the rows so far with the cursor; the ledger row is then
	// Partial. Not for snapshot streams.
	Checkpoint(ctx context.Context, c connector.Cursor, usage connector.Usage) error
	// Commit commits the remaining rows and the ledger row as Held (a cursor
	// stream keeps the cursor of its last checkpoint). It returns the counts of the whole attempt.
	//
	// Rows of the same key that the attempt wrote twice count once, the last
	// wins. Rows that are as they were are not written. For a window stream with
	// a time column, rows at rest whose time lies in the slice's window and whose
	// key was not written are deleted. For a snapshot stream, rows whose key was
	// not written get the attempt's start as _deleted_at and count as deleted; a
	// row that comes back loses it.
	//
	// Other ledger rows of the partition whose window lies within the slice's, and
	// those that overlap it and are not Held, are superseded: deleted in the same
	// transaction. Their reads stay. Rows that are Held and overlap it in part stay.
	Commit(ctx context.Context, usage connector.Usage) (ledger.Counts, error)
	// Close gives up what was not committed. It is safe after Commit and twice.
	Close() error
}

// An Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	Succeeded   Outcome = "succeeded"   // every slice was read
	Incomplete  Outcome = "incomplete"  // some slices failed, the others landed
	FailedRun   Outcome = "failed"      // nothing landed
	Interrupted Outcome = "interrupted" // a person or a shutdown ended it
	Lost        Outcome = "lost"        // the agent died
)

// A Run is one recorded attempt at some slices of one source.
type Run struct {
	ID        int64
	Source    string
	Connector string
	Trigger   string // what caused it: pull, backfill, demo
	StartedAt time.Time
	TraceID   string // 32 hex digits, or empty
	SpanID    string // of the run in its trace: 16 hex digits, or empty
	Backfill  int64  // the backfill that it is part of; 0 for a pull
	RunEnd           // zero while the run goes on
}

// A RunEnd is what is known when a run has ended.
type RunEnd struct {
	EndedAt   time.Time
	Outcome   Outcome
	Slices    int64 // slices that were committed
	Failed    int64 // slices that were not
	Counts    ledger.Counts
	Usage     connector.Usage
	Stages    Stages // sums over all slices, which ran side by side
	ErrorKind connector.Kind
	Error     string // of the run itself, or of its first failed slice
	Hint      string // what to try about the error; may be empty
}

// A Read is one attempt at one slice, as it ended.
type Read struct {
	Run       int64
	Slice     ledger.Slice
	State     ledger.State
	StartedAt time.Time
	EndedAt   time.Time
	Counts    ledger.Counts
	Usage     connector.Usage
	// Stages is without the end of the last transaction, which holds the record
	// itself.
	Stages    Stages
	ErrorKind connector.Kind
	Error     string
	Hint      string
}
