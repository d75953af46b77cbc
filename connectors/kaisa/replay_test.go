package kaisa

import (
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
)

// What was recorded is replayed with the vendor gone: as many records of each
// slice, with the same values in all that is neither personal nor secret.
func TestReplayGivesWhatWasRecorded(t *testing.T) {
	t.Parallel()
	box := sandbox.New(sandbox.Options{Size: 5, Days: 20, AsOf: time.Date(2024, 3, 20, 15, 0, 0, 0, time.UTC)})
	server := httptest.NewServer(box)
	defer server.Close()
	all := box.Sources(server.URL)
	config := maps.Clone(all[slices.IndexFunc(all, func(s sandbox.Source) bool { return s.Connector == "kaisa" })].Config)
	config["requests_per_second"] = 0
	open := func() (connector.Source, []connector.Stream) {
		src, err := openWith(t, config)
		if err != nil {
			t.Fatal(err)
		}
		streams, err := src.Streams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return src, streams
	}

	src, streams := open()
	path := filepath.Join(t.TempDir(), "kaisa.jsonl")
	rec, err := cassette.Record(path, cassette.Options{Secrets: []string{config["client_secret"].(string)}, Streams: streams})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]map[string]string{}
	for _, st := range streams {
		for _, req := range slicesOf(st, box.AsOf()) {
			rec.Pull(req)
			var out recorder
			if err := src.Pull(cassette.With(t.Context(), rec), req, &out); err != nil {
				t.Fatalf("%s %s: %v", st.Name, req.Window, err)
			}
			want[st.Name] = append(want[st.Name], harmless(t, streams, st, out.records)...)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	server.Close()

	src, _ = open()
	player, err := cassette.Replay(path, []string{config["client_secret"].(string)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]map[string]string{}
	for _, req := range player.Pulls() {
		st := streams[slices.IndexFunc(streams, func(s connector.Stream) bool { return s.Name == req.Stream })]
		var out recorder
		if err := src.Pull(cassette.With(t.Context(), player), req, &out); err != nil {
			t.Fatalf("%s %s: %v", st.Name, req.Window, err)
		}
		got[st.Name] = append(got[st.Name], harmless(t, streams, st, out.records)...)
	}
	if len(want["customers"]) == 0 || len(want["cdrs_in"]) == 0 {
		t.Error("nothing was recorded")
	}
	for name, rows := range got { // what looks personal has a stand-in in unmarked fields too
		for i, row := range rows {
			for column, value := range row {
				if strings.HasPrefix(value, "redacted-") && i < len(want[name]) && want[name][i][column] != "" {
					want[name][i][column] = value
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("replayed (-recorded +replayed):\n%.3000s", diff)
	}
}

// harmless are the values of records that a cassette keeps: those of fields that
// no stream marks, whatever stream they are of.
func harmless(t *testing.T, streams []connector.Stream, st connector.Stream, records []string) []map[string]string {
	t.Helper()
	marked := map[string]bool{}
	for _, other := range streams {
		for _, c := range other.Columns {
			if c.Personal || c.Secret {
				marked[c.Source()[len(c.Source())-1]] = true
			}
		}
	}
	var rows []map[string]string
	for _, raw := range records {
		row := landed(t, st, raw)
		for _, c := range st.Columns {
			if marked[c.Source()[len(c.Source())-1]] || c.Type == connector.TypeJSON {
				delete(row, c.Name)
			}
		}
		rows = append(rows, row)
	}
	return rows
}
