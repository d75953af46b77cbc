package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// statements are the SQL of one table. In all of them s is the staging table, t
// the stream's, and e the keys of earlier checkpoints. _rowid_ is the staging
// table's own: no declared column can be called so.
type statements struct {
	createStage string // what is staged: the declared columns, hash and _extra
	stage       string // INSERT up to VALUES
	index       string // by key, with the hash, so that comparing reads nothing else
	twice       string // whether a key was staged twice
	deduplicate string // of the same key the last stays
	dropIndex   string
	clearStage  string

	createSpared string // keys of records that were set aside, numbered
	createSeen   string
	classify     string // see classified
	classifySeen string // the same where there are earlier checkpoints
	remember     string // keeps the staged keys and whether they were written
	upsertAll    string // arguments: run, seen at
	upsertSome   string // the same, looking for what differs first
	vanish       string // arguments: by mode; empty where nothing vanishes
}

func newStatements(t table) statements {
	var (
		key     = t.stream.PrimaryKey
		main    = "main." + quote(t.name)
		columns []string // declared
		defined []string

		keyDefined []string
	)
	for _, name := range key {
		c, _ := t.stream.Column(name)
		keyDefined = append(keyDefined, quote(name)+" "+columnTypes[c.Type])
	}
	for _, c := range t.columns {
		columns = append(columns, c.Name)
		defined = append(defined, quote(c.Name)+" "+columnTypes[c.Type])
	}
	staged := append(slices.Clone(columns), record.ColumnHash, record.ColumnExtra)
	match := func(a, b string) string { return match(key, a, b) }
	hash := quote(record.ColumnHash)
	// A row at rest that is marked as vanished differs from any that is reported.
	differs := "(t." + hash + " <> s." + hash + " OR t." + quote(record.ColumnDeleted) + " IS NOT NULL)"
	// In the order of the key, which is that of the rows at rest.
	joined := "temp.stage AS s INDEXED BY stage_key LEFT JOIN " + main + " AS t ON " + match("t", "s")

	var set []string
	for _, name := range append(staged, record.ColumnRun, record.ColumnSeenAt) {
		if !slices.Contains(key, name) {
			set = append(set, quote(name)+" = excluded."+quote(name))
		}
	}
	st := statements{
		createStage: fmt.Sprintf("CREATE TEMP TABLE stage (%s, %s BLOB, %s JSON_TEXT)",
			strings.Join(defined, ", "), hash, quote(record.ColumnExtra)),
		stage:       "INSERT INTO temp.stage VALUES ",
		index:       fmt.Sprintf("CREATE INDEX temp.stage_key ON stage (%s, %s)", quoteAll("", key), hash),
		twice:       fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM temp.stage INDEXED BY stage_key GROUP BY %s HAVING count(*) > 1)", quoteAll("", key)),
		deduplicate: fmt.Sprintf("DELETE FROM temp.stage WHERE _rowid_ NOT IN (SELECT max(_rowid_) FROM temp.stage GROUP BY %s)", quoteAll("", key)),
		dropIndex:   "DROP INDEX IF EXISTS temp.stage_key",
		clearStage:  "DELETE FROM temp.stage",

		createSpared: fmt.Sprintf(`CREATE TEMP TABLE spared (%s, "_nth" INTEGER)`, strings.Join(keyDefined, ", ")),
		// With the types of the staged columns, or its key is of no use to look them up.
		createSeen: fmt.Sprintf("CREATE TEMP TABLE seen (%s, \"_written\", PRIMARY KEY (%s)) WITHOUT ROWID",
			strings.Join(keyDefined, ", "), quoteAll("", key)),
		classify: fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE t.%[1]s IS NULL), count(*) FILTER (WHERE %[2]s), 0,
			count(*) FILTER (WHERE t.%[1]s IS NULL OR %[2]s), count(*) FROM %[3]s`, hash, differs, joined),
		classifySeen: fmt.Sprintf(`SELECT count(*) FILTER (WHERE e."_written" IS NULL),
			count(*) FILTER (WHERE e."_written" IS NULL AND t.%[1]s IS NULL),
			count(*) FILTER (WHERE e."_written" IS NULL AND %[2]s),
			count(*) FILTER (WHERE e."_written" = 0 AND (t.%[1]s IS NULL OR %[2]s)),
			count(*) FILTER (WHERE t.%[1]s IS NULL OR %[2]s), count(*)
			FROM %[3]s LEFT JOIN temp.seen AS e ON %[4]s`, hash, differs, joined, match("e", "s")),
		remember: fmt.Sprintf(`INSERT INTO temp.seen SELECT %s, t.%s IS NULL OR %s FROM %s WHERE true
			ON CONFLICT DO UPDATE SET "_written" = 1 WHERE excluded."_written" AND NOT seen."_written"`,
			quoteAll("s.", key), hash, differs, joined),
	}
	upsert := func(from string) string {
		return fmt.Sprintf(`INSERT INTO %s AS t (%s, %s, %s) SELECT %s, ?, ? FROM %s ORDER BY %s
			ON CONFLICT DO UPDATE SET %s, %s = NULL WHERE t.%s <> excluded.%s OR t.%s IS NOT NULL`,
			main, quoteAll("", staged), quote(record.ColumnRun), quote(record.ColumnSeenAt), quoteAll("s.", staged), from, quoteAll("+s.", key),
			strings.Join(set, ", "), quote(record.ColumnDeleted), hash, hash, quote(record.ColumnDeleted))
	}
	st.upsertAll = upsert("temp.stage AS s NOT INDEXED WHERE true")
	st.upsertSome = upsert(joined + " WHERE t." + hash + " IS NULL OR " + differs)
	unreported := "NOT EXISTS (SELECT 1 FROM temp.stage AS s WHERE " + match("s", "t") + ")"
	unseen := " AND NOT EXISTS (SELECT 1 FROM temp.seen AS e WHERE " + match("e", "t") + ")" +
		" AND NOT EXISTS (SELECT 1 FROM temp.spared AS p WHERE " + match("p", "t") + ")"
	if column := t.stream.PartitionColumn; column != "" {
		unreported += fmt.Sprintf(" AND (? = '' OR CAST(t.%s AS TEXT) = ?)", quote(column))
	}
	switch {
	case t.stream.Mode == connector.ModeSnapshot:
		deleted := quote(record.ColumnDeleted)
		st.vanish = fmt.Sprintf("UPDATE %s AS t SET %s = ? WHERE t.%s IS NULL AND %s", main, deleted, deleted, unreported+unseen)
	case t.stream.TimeColumn != "":
		at := quote(t.stream.TimeColumn)
		st.vanish = fmt.Sprintf("DELETE FROM %s AS t WHERE t.%s >= ? AND t.%s < ? AND %s", main, at, at, unreported+unseen)
	}
	return st
}

// A classified is what the staged rows are, compared with those at rest.
type classified struct {
	rows, inserted, updated int64 // of keys that this attempt had not committed yet
	rewritten               int64 // were unchanged at an earlier checkpoint and now are not
	writes                  int64 // rows that the upsert will write
	staged                  int64 // all of them
}

// merge commits what is staged together with the slice's row of the ledger, in
// one transaction (I1). It returns the counts of the whole attempt.
func (w *writer) merge(ctx context.Context, e entry) (counts ledger.Counts, err error) {
	if err := w.flush(); err != nil {
		return ledger.Counts{}, err
	}
	w.tellStaged(ctx)
	merging, end := w.step(ctx, sink.Merging, "merge")
	defer func() { end(err) }() // of the stage that is then under way
	if err := w.indexStage(ctx); err != nil {
		return ledger.Counts{}, err
	}
	done := func() {}
	defer func() { done() }()
	err = w.attempt.Await(merging, func() (err error) {
		if done, err = w.sink.turn(ctx); err != nil {
			done = func() {}
			return err
		}
		return w.exec(ctx, "BEGIN IMMEDIATE") // waits for other processes
	})
	if err != nil {
		return ledger.Counts{}, err
	}
	ids, err := w.commit(ctx, &e)
	// Whether it is committed must be known, so it is not interrupted.
	whole := context.WithoutCancel(ctx)
	if err == nil {
		end(nil)
		_, end = w.step(ctx, sink.Committing, "COMMIT")
		err = w.exec(whole, "COMMIT")
	}
	if err != nil {
		_ = w.exec(whole, "ROLLBACK") // where the store has not rolled back by itself
		return ledger.Counts{}, err
	}
	w.aside.Committed(ids)
	return e.counts, w.forget(whole, e.state)
}

// commit does what is done in the transaction: rows, what was set aside, and the
// slice's row of the ledger. It returns the ids of what was set aside.
func (w *writer) commit(ctx context.Context, e *entry) (ids map[quarantine.Key]int64, err error) {
	if e.instead != nil {
		if e.counts, err = w.upsert(ctx, ledger.Held); err != nil {
			return nil, err
		}
		return nil, e.instead(ctx)
	}
	n, ids, err := w.setAside(ctx)
	if err != nil {
		return nil, err
	}
	if e.counts, err = w.apply(ctx, e.state); err != nil {
		return nil, err
	}
	e.counts.Quarantined += n
	if e.state == ledger.Held {
		if err := w.replaceQuarantined(ctx); err != nil {
			return nil, err
		}
	}
	return ids, e.record(ctx, w.conn, w.attempt)
}

func (w *writer) exec(ctx context.Context, query string, args ...any) error {
	_, err := w.conn.ExecContext(ctx, query, args...)
	return err
}

// indexStage leaves one staged row of each key, the last, and an index on them.
func (w *writer) indexStage(ctx context.Context) error {
	if !w.staged {
		return nil
	}
	if err := w.exec(ctx, w.sql.index); err != nil {
		return err
	}
	var twice bool
	if err := w.conn.QueryRowContext(ctx, w.sql.twice).Scan(&twice); err != nil || !twice {
		return err
	}
	return w.exec(ctx, w.sql.deduplicate)
}

// upsert writes what differs.
func (w *writer) upsert(ctx context.Context, state ledger.State) (ledger.Counts, error) {
	counts := w.counts
	if w.staged {
		var is classified
		query := w.sql.classify
		if w.seen {
			query = w.sql.classifySeen
		}
		if err := w.conn.QueryRowContext(ctx, query).Scan(&is.rows, &is.inserted, &is.updated, &is.rewritten, &is.writes, &is.staged); err != nil {
			return counts, err
		}
		counts.Rows += is.rows
		counts.Inserted += is.inserted
		counts.Updated += is.updated + is.rewritten
		counts.Unchanged += is.rows - is.inserted - is.updated - is.rewritten
		if state == ledger.Partial {
			if err := w.exec(ctx, w.sql.remember); err != nil {
				return counts, err
			}
		}
		if is.writes > 0 {
			upsert := w.sql.upsertAll
			if is.writes < is.staged/2 {
				upsert = w.sql.upsertSome
			}
			if err := w.exec(ctx, upsert, w.attempt.Run, timestamp(w.attempt.StartedAt)); err != nil {
				return counts, err
			}
		}
	}
	return counts, nil
}

// apply writes what differs and removes or marks what has vanished.
func (w *writer) apply(ctx context.Context, state ledger.State) (ledger.Counts, error) {
	counts, err := w.upsert(ctx, state)
	if err != nil {
		return counts, err
	}
	// What an earlier attempt at the slice wrote is unknown to a resumed one. Where
	// no column tells what belongs to a partition, a slice of one must not take the
	// rows of the others for vanished. Nor can anybody tell where the key of a
	// record that was set aside is unknown.
	untold := w.attempt.Slice.Partition != "" && w.attempt.Stream.PartitionColumn == ""
	if state != ledger.Held || w.attempt.Resumed || w.aside.Blind() || untold || w.sql.vanish == "" {
		return counts, nil
	}
	if counts.Deleted, err = rowsAffected(w.conn.ExecContext(ctx, w.sql.vanish, w.vanishArgs()...)); err != nil {
		return counts, err
	}
	return counts, w.attempt.Brake.Hold(w.attempt.Stream.Mode, counts)
}

func (w *writer) vanishArgs() (args []any) {
	stream, window := w.attempt.Stream, w.attempt.Slice.Window
	c, _ := stream.Column(stream.TimeColumn)
	switch {
	case stream.Mode == connector.ModeSnapshot:
		args = []any{timestamp(w.attempt.StartedAt)}
	case c.Type == connector.TypeDate:
		args = []any{firstDay(window.Since), firstDay(window.Until)}
	default:
		args = []any{timestampFrom(window.Since), timestampFrom(window.Until)}
	}
	if stream.PartitionColumn != "" {
		args = append(args, w.attempt.Slice.Partition, w.attempt.Slice.Partition)
	}
	return args
}

// forget empties the staging table after a checkpoint.
func (w *writer) forget(ctx context.Context, state ledger.State) error {
	if state != ledger.Partial || !w.staged {
		return nil
	}
	w.staged, w.seen = false, true
	if err := w.exec(ctx, w.sql.dropIndex); err != nil {
		return err
	}
	return w.exec(ctx, w.sql.clearStage)
}
