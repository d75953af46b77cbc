package main

import (
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// verify compares tables with the truth, the ledger with the tables, and looks at
// the outcomes of all runs.
func (k *killer) verify() {
	k.Helper()
	a, cfg := k.app()
	store, _, err := a.openSink(k.Context(), cfg.Sink)
	if err != nil {
		k.Fatal(err)
	}
	defer a.closing("store", store.Close)
	rows := k.openTables()
	launcher := a.launcher(cfg)
	for _, who := range accounts {
		src, err := cfg.Source(who.source)
		if err != nil {
			k.Fatal(err)
		}
		session, err := a.openSource(k.Context(), launcher, src)
		if err != nil {
			k.Fatal(err)
		}
		offered, err := session.Source.Streams(k.Context())
		if err != nil {
			k.Fatal(err)
		}
		a.closing("connector", session.Close)
		all, err := wants(src, offered)
		if err != nil {
			k.Fatal(err)
		}
		entries, err := store.Entries(k.Context(), who.source)
		if err != nil {
			k.Fatal(err)
		}
		for _, want := range all {
			landed := rows(who.source, want.Stream.Name, want.Stream.Mode == connector.ModeSnapshot)
			k.compareTruth(who, want, landed)
			k.compareLedger(want, entries, landed)
		}
	}
	k.compareRuns(store)
}

// compareTruth checks that the keys at rest are those of the sandbox's truth, each
// once.
func (k *killer) compareTruth(who account, want ledger.Want, landed []map[string]any) {
	k.Helper()
	st := want.Stream
	got, truth := []string{}, []string{}
	for _, row := range landed {
		got = append(got, keyText(st, row))
	}
	since, until := planned(want, time.Now())
	seen := map[string]bool{}
	for record := range who.truth(k.box, st.Name, since, until) {
		key := keyText(st, record)
		if (who.counted == nil || who.counted(st.Name, record)) && !seen[key] {
			seen[key] = true
			truth = append(truth, key)
		}
	}
	slices.Sort(got)
	slices.Sort(truth)
	if diff := cmp.Diff(truth, got); diff != "" {
		k.Errorf("seed %d: %s/%s: keys (-truth +landed):\n%.2000s", k.seed, who.source, st.Name, diff)
	}
}

// compareLedger checks that every slice is held, and with as many rows as the
// ledger says. A slice that went on from a checkpoint knows the rows of its last
// attempt alone.
func (k *killer) compareLedger(want ledger.Want, entries []ledger.Entry, landed []map[string]any) {
	k.Helper()
	for _, e := range entries {
		if e.Slice.Stream != want.Stream.Name {
			continue
		}
		if e.State != ledger.Held || e.LastReadAt.IsZero() {
			k.Errorf("seed %d: %s is %s: %s", k.seed, e.Slice, e.State, e.Error)
			continue
		}
		n := int64(0)
		for _, row := range landed {
			if belongs(want.Stream, e.Slice, row) {
				n++
			}
		}
		if exact := want.Stream.Mode == connector.ModeSnapshot || want.Stream.TimeColumn != ""; exact && n != e.Counts.Rows && !k.resumed(want, e) {
			k.Errorf("seed %d: %s: %d rows in the table, %d in the ledger", k.seed, e.Slice, n, e.Counts.Rows)
		}
		if n < e.Counts.Rows {
			k.Errorf("seed %d: %s: the ledger counts %d rows, the table has %d", k.seed, e.Slice, e.Counts.Rows, n)
		}
	}
}

// resumed reports whether the slice may have gone on from a checkpoint: those of
// Kaisa and Fospha never do.
func (k *killer) resumed(want ledger.Want, e ledger.Entry) bool {
	return want.Stream.Mode == connector.ModeWindow && e.Slice.Source != "kaisa_sandbox" && e.Slice.Source != "fospha_sandbox"
}

// belongs reports whether a row lies in a slice.
func belongs(st connector.Stream, s ledger.Slice, row map[string]any) bool {
	if s.Partition != "" && st.PartitionColumn != "" && fmt.Sprint(row[st.PartitionColumn]) != s.Partition {
		return false
	}
	c, ok := st.Column(st.TimeColumn)
	if !ok {
		return true
	}
	layout := "2006-01-02T15:04:05.000000Z"
	if c.Type == connector.TypeDate {
		layout = time.DateOnly
	}
	at := fmt.Sprint(row[c.Name])
	if moment, ok := row[c.Name].(time.Time); ok {
		at = moment.UTC().Format(layout)
	}
	return at >= s.Window.Since.UTC().Format(layout) && at < s.Window.Until.UTC().Format(layout)
}

// compareRuns checks that each run has an outcome: no more than one can be
// recorded, and none is missing once the source was pulled again.
func (k *killer) compareRuns(store sink.Sink) {
	k.Helper()
	runs, err := store.Runs(k.Context(), "", 100_000)
	if err != nil {
		k.Fatal(err)
	}
	last := map[string]bool{}
	committed := map[string]int64{} // by window, the run that committed it
	for _, r := range runs {        // the newest first
		if r.Outcome == "" || r.EndedAt.IsZero() {
			k.Errorf("seed %d: run %d of %s has no outcome", k.seed, r.ID, r.Source)
		}
		if !last[r.Source] && r.Outcome != sink.Succeeded {
			k.Errorf("seed %d: the last run of %s is %s", k.seed, r.Source, r.Outcome)
		}
		last[r.Source] = true
		_, reads, err := store.RunByID(k.Context(), r.ID)
		if err != nil {
			k.Fatal(err)
		}
		for _, read := range reads {
			if read.State != ledger.Held || read.Slice.Window.IsZero() {
				continue
			}
			name := read.Slice.String()
			if other, twice := committed[name]; twice {
				k.Errorf("seed %d: %s was committed by the runs %d and %d", k.seed, name, read.Run, other)
			}
			committed[name] = read.Run
		}
	}
	if len(last) != len(accounts) {
		k.Errorf("seed %d: runs of %d sources, want %d", k.seed, len(last), len(accounts))
	}
}

func (k *killer) postgresRows(conn *pgx.Conn, source, stream string, live bool) []map[string]any {
	k.Helper()
	query := "SELECT * FROM " + pgx.Identifier{source, stream}.Sanitize()
	if live {
		query += " WHERE _deleted_at IS NULL"
	}
	rows, err := conn.Query(k.Context(), query)
	if err != nil {
		k.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		k.Fatal(err)
	}
	for _, row := range all {
		for name, v := range row {
			if n, ok := v.(pgtype.Numeric); ok {
				if row[name], err = n.Value(); err != nil {
					k.Fatal(err)
				}
			}
		}
	}
	return all
}

func (k *killer) sqliteRows(db *sql.DB, source, stream string, live bool) []map[string]any {
	k.Helper()
	mode := connector.ModeWindow
	if live {
		mode = connector.ModeSnapshot
	}
	return landedRows(k.T, db, source, connector.Stream{Name: stream, Mode: mode})
}
