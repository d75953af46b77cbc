// Package lineage tells a receiver of OpenLineage which stream of which vendor the
// rows of a table come from, by events about runs.
//
// Each run of a source is a run of the job of that source and, below it, of a job
// for each stream: what a job reads goes into all that it writes, so a job of a
// whole source would say that every stream feeds every table.
package lineage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// DefaultNamespace is that of jobs unless something else is configured.
const DefaultNamespace = "winch"

// Options say who is told, and in whose name.
type Options struct {
	URL       string // of the receiver, whole
	APIKey    connector.Secret
	Namespace string // of jobs; DefaultNamespace if empty
	Version   string // of the program
	// Parent is the run that all runs are part of; zero for none.
	Parent Parent
	Log    *slog.Logger
}

// A Parent is a run of another program that has started this one.
type Parent struct{ Namespace, Job, Run string }

// ParseParent reads a parent as programs of OpenLineage hand it on,
// NAMESPACE/JOB/ID; zero if it is none.
func ParseParent(text string) Parent {
	m := parentForm.FindStringSubmatch(text)
	if m == nil {
		return Parent{}
	}
	return Parent{Namespace: m[1], Job: m[2], Run: strings.ToLower(m[3])}
}

var parentForm = regexp.MustCompile(`^(.+)/([^/]+)/([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$`)

// A Teller tells a receiver. A nil Teller tells nobody anything.
type Teller struct {
	*sender
	namespace, version, producer string
	parent                       Parent
}

// Start starts a Teller. It does not use the network until there is something to
// tell. The caller must call Shutdown.
func Start(ctx context.Context, o Options) *Teller {
	return &Teller{
		sender: startSender(ctx, o.URL, o.APIKey, o.Log), namespace: cmp.Or(o.Namespace, DefaultNamespace),
		version: o.Version, producer: producer(o.Version), parent: o.Parent,
	}
}

// A Run is a run of a source.
type Run struct {
	Source    string
	Connector string
	Trigger   string
	ID        int64
	StartedAt time.Time // as the store has it
	TraceID   string    // empty for none
	Nominal   time.Time // of the tick that it is for; zero for none
}

// A Stream is a stream with the table that its rows land in.
type Stream struct {
	connector.Stream
	Table sink.Dataset
}

// An End is how a run ended, of a stream or as a whole.
type End struct {
	Outcome sink.Outcome
	Err     error
	Counts  ledger.Counts
	Usage   connector.Usage
}

// Begun tells that a run has begun.
func (t *Teller) Begun(r Run) {
	t.tell(t.event(r, "", "START", r.StartedAt))
}

// BegunStream tells that a run begins to read a stream.
func (t *Teller) BegunStream(r Run, s Stream) {
	e := t.event(r, s.Name, "START", time.Now())
	t.describe(&e, r, s)
	t.tell(e)
}

// Ended tells how a run ended.
func (t *Teller) Ended(r Run, end End) {
	t.tell(t.ended(r, "", end))
}

// EndedStream tells how the reading of a stream ended.
func (t *Teller) EndedStream(r Run, s Stream, end End) {
	e := t.ended(r, s.Name, end)
	t.describe(&e, r, s)
	e.Inputs[0].InputFacets = facets{"inputStatistics": t.facet(inputStatistics, fields{
		"rowCount": end.Counts.Rows + end.Counts.Quarantined, "size": end.Usage.Bytes,
	})}
	e.Outputs[0].OutputFacets = facets{"outputStatistics": t.facet(outputStatistics, fields{
		"rowCount": end.Counts.Inserted + end.Counts.Updated,
	})}
	t.tell(e)
}

// Lost tells that a run, of a stream or as a whole, ended with its agent.
func (t *Teller) Lost(r Run, stream string) {
	t.tell(t.ended(r, stream, End{Outcome: sink.Lost, Err: errLost}))
}

var errLost = errors.New("the agent ended without recording an outcome")

// eventTypes are what outcomes are called: an end that somebody or something
// brought about is no failure.
var eventTypes = map[sink.Outcome]string{
	sink.Succeeded: "COMPLETE", sink.Incomplete: "FAIL", sink.FailedRun: "FAIL", sink.Interrupted: "ABORT", sink.Lost: "ABORT",
}

func (t *Teller) ended(r Run, stream string, end End) event {
	e := t.event(r, stream, eventTypes[end.Outcome], time.Now())
	if end.Err != nil {
		e.Run.Facets["errorMessage"] = t.facet(errorMessage, fields{"message": end.Err.Error(), "programmingLanguage": "GO"})
	}
	return e
}

// jobName is that of a source, or of one of its streams.
func jobName(source, stream string) string {
	if stream == "" {
		return source
	}
	return source + "." + stream
}

// RunID is the id of a run, of a stream or as a whole: a UUID of version 7 that
// whoever knows the run can compute, so that an agent can end what another began.
func RunID(r Run, stream string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", jobName(r.Source, stream), r.ID, r.StartedAt.UnixMicro()))
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(r.StartedAt.UnixMilli())<<16) //nolint:gosec // after 1970
	copy(id[6:], sum[:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
