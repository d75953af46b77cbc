package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// A Replayed says what [Replay] records.
type Replayed struct {
	Definition connector.Definition
	// Settings open the source at a vendor that answers until Vanish is called.
	Settings map[string]any
	Vanish   func()
	// Pulls are the pulls of a stream; ctx is the one to ask the source with.
	Pulls func(ctx context.Context, src connector.Source, st connector.Stream) ([]connector.Request, error)
}

// Replay records pulls on a cassette, lets the vendor vanish, and replays them
// with a new source: each pull must give as many records again, with the same
// values in all columns that the cassette does not redact. It returns how many
// records each stream gave.
//
// It runs in this process: that the agent's own way to a cassette works is not
// the connector's to prove.
func Replay(t testing.TB, r Replayed) map[string]int {
	t.Helper()
	settings, err := json.Marshal(r.Settings)
	if err != nil {
		t.Fatal(err)
	}
	secrets := cassette.Secrets(r.Definition.ConfigSchema, settings)
	path := filepath.Join(t.TempDir(), "cassette.jsonl")
	recorder, err := cassette.Record(path, cassette.Options{Secrets: secrets, Streams: r.Definition.Streams})
	if err != nil {
		t.Fatal(err)
	}
	ctx := cassette.With(t.Context(), recorder)
	src := r.open(t, settings)
	streams, err := src.Streams(ctx)
	if err != nil {
		t.Fatal(err)
	}
	recorder.Mark(streams)
	counts := map[string]int{}
	var want []taken
	for _, st := range streams {
		pulls, err := r.Pulls(ctx, src, st)
		if err != nil {
			t.Fatalf("%s: %v", st.Name, err)
		}
		for _, req := range pulls {
			recorder.Pull(req)
			want = append(want, take(ctx, t, src, req))
			counts[st.Name] += len(want[len(want)-1].records)
		}
	}
	if err := recorder.Close(); err != nil {
		t.Fatal(err)
	}
	r.Vanish()

	player, err := cassette.Replay(path, secrets)
	if err != nil {
		t.Fatal(err)
	}
	ctx, src = cassette.With(t.Context(), player), r.open(t, settings)
	pulls := player.Pulls()
	if len(pulls) != len(want) {
		t.Fatalf("%d pulls recorded, %d to replay", len(want), len(pulls))
	}
	kept := keptColumns(streams)
	for i, req := range pulls {
		compareTaken(t, want[i], take(ctx, t, src, req), kept[req.Stream])
	}
	return counts
}

func (r Replayed) open(t testing.TB, settings []byte) connector.Source {
	t.Helper()
	src, err := r.Definition.Open(t.Context(), connector.NewConfig(settings))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// taken are the records of a pull.
type taken struct {
	req     connector.Request
	records [][]byte
}

func (k *taken) Record(raw []byte) error {
	k.records = append(k.records, bytes.Clone(raw))
	return nil
}

func (k *taken) Checkpoint(connector.Cursor) error { return nil }

func take(ctx context.Context, t testing.TB, src connector.Source, req connector.Request) taken {
	t.Helper()
	k := taken{req: req}
	if err := src.Pull(ctx, req, &k); err != nil {
		t.Fatalf("%s %s %s: %v", req.Stream, req.Partition, req.Window, err)
	}
	return k
}

// keptColumns are the columns by stream that a cassette keeps: those of fields
// that no stream marks, whatever stream they are of.
func keptColumns(streams []connector.Stream) map[string][]connector.Column {
	field := func(c connector.Column) string { return c.Source()[len(c.Source())-1] }
	marked := map[string]bool{}
	for _, st := range streams {
		for _, c := range st.Columns {
			if c.Personal || c.Secret {
				marked[field(c)] = true
			}
		}
	}
	kept := map[string][]connector.Column{}
	for _, st := range streams {
		kept[st.Name] = slices.DeleteFunc(slices.Clone(st.Columns), func(c connector.Column) bool {
			return c.Type == connector.TypeJSON || marked[field(c)] || cassette.Hides(field(c))
		})
	}
	return kept
}

func compareTaken(t testing.TB, want, got taken, columns []connector.Column) {
	t.Helper()
	if len(got.records) != len(want.records) {
		t.Errorf("%s %s %s: %d records recorded, %d replayed", want.req.Stream, want.req.Partition, want.req.Window, len(want.records), len(got.records))
		return
	}
	for i, record := range got.records {
		for _, c := range columns {
			recorded, replayed := rest.Field(want.records[i], c.Source()...), rest.Field(record, c.Source()...)
			// What looks personal has a stand-in in unmarked fields too.
			if value(recorded) != value(replayed) && !bytes.Contains(replayed, []byte("redacted")) {
				t.Errorf("%s %s %s: record %d: %s: recorded %s, replayed %s", want.req.Stream, want.req.Partition, want.req.Window, i+1, c.Name, recorded, replayed)
				return
			}
		}
	}
}

// value is a JSON value without the ways in which it can be written.
func value(raw []byte) string {
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return string(raw)
	}
	return fmt.Sprint(v)
}
