package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// timeFormat renders a timestamptz as sink.ArchivedColumn says.
const timeFormat = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`

// Sources returns the sources that have tables or ledger rows here. A schema is a
// source's if a table in it has the columns that every stream's table has.
func (s *Sink) Sources(ctx context.Context) ([]string, error) {
	const query = `SELECT source FROM winch.slices UNION SELECT source FROM winch.runs
UNION SELECT n.nspname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE a.attname = '_winch_hash' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_'
ORDER BY 1`
	rows, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, fault(ctx, "list the sources", err)
	}
	sources, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return sources, fault(ctx, "list the sources", err)
}

// Export hands a source to an import, as one snapshot of the database.
func (s *Sink) Export(ctx context.Context, source string, to sink.Import) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL datestyle = 'ISO'"); err != nil { // of the bounds of pieces
			return err
		}
		for _, name := range sink.OwnTables {
			t := sink.ArchivedTable{Name: name, Own: true}
			if err := exportTable(ctx, tx, source, t, to); err != nil {
				return err
			}
		}
		const streams = `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
	AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = '_winch_hash') ORDER BY 1`
		rows, err := tx.Query(ctx, streams, source)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := exportTable(ctx, tx, source, sink.ArchivedTable{Name: name}, to); err != nil {
				return err
			}
		}
		return nil
	})
	return fault(ctx, "export source "+source, err)
}

func exportTable(ctx context.Context, tx pgx.Tx, source string, t sink.ArchivedTable, to sink.Import) error {
	schema := source
	if t.Own {
		schema = ownSchema
	}
	rest, err := atRest(ctx, tx, table{source: schema, stream: t.Name})
	if err != nil {
		return err
	}
	names, err := columnOrder(ctx, tx, schema, t.Name)
	if err != nil {
		return err
	}
	var values []string
	for _, name := range names {
		c := rest.columns[name]
		column, value, ok := archived(c)
		if !ok || column.Bytes && !t.Own && name != record.ColumnHash {
			return sink.ForeignColumn(source, t.Name, name, c.SQLType)
		}
		t.Columns, values = append(t.Columns, column), append(values, value)
	}
	query := fmt.Sprintf("SELECT %s FROM %s t", strings.Join(values, ", "), quote(schema, t.Name))
	if t.Own {
		query += " WHERE source = " + literal(source) + " ORDER BY " + each(rest.key, "t.%[1]s", ", ")
	} else {
		if t.Key, err = writtenKey(source, t.Name, rest); err != nil {
			return err
		}
		if t.Cut, err = readCut(ctx, tx, rest.cut, quote(schema, t.Name)); err != nil {
			return err
		}
	}
	if err := to.Table(ctx, t); err != nil {
		return err
	}
	// The simple protocol has all values as text.
	rows, err := tx.Query(ctx, query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := to.Row(ctx, rows.RawValues()); err != nil {
			return err
		}
	}
	return rows.Err()
}

func columnOrder(ctx context.Context, tx pgx.Tx, schema, table string) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT attname::text FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, quote(schema, table))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// archived returns a column as it travels, and its value in SQL.
func archived(c restingColumn) (column sink.ArchivedColumn, value string, ok bool) {
	name := "t." + quote(c.Name)
	column.Name = c.Name
	switch c.SQLType {
	case "bytea":
		column.Bytes = true
		return column, "encode(" + name + ", 'hex')", true
	case "json":
		column.Type = connector.TypeJSON
		return column, name, true
	}
	for typ, sqlType := range sqlTypes {
		if sqlType == c.SQLType {
			column.Type = typ
		}
	}
	switch column.Type {
	case connector.TypeBoolean:
		return column, name + "::int", true
	case connector.TypeDate:
		return column, "to_char(" + name + ", 'YYYY-MM-DD')", true
	case connector.TypeTimestamp:
		return column, fmt.Sprintf("CASE WHEN isfinite(%[1]s) THEN to_char(%[1]s AT TIME ZONE 'UTC', %[2]s) ELSE CASE WHEN %[1]s IS NOT NULL THEN '' END END", name, timeFormat), true
	default:
		return column, name, column.Type != ""
	}
}

const runSequence = "pg_get_serial_sequence('winch.runs', 'id')"

// LastRun returns the highest id that a run ever had.
func (s *Sink) LastRun(ctx context.Context) (last int64, err error) {
	err = s.pool.QueryRow(ctx, "SELECT COALESCE(pg_sequence_last_value("+runSequence+"::regclass), 0)").Scan(&last)
	return last, fault(ctx, "look up the last run", err)
}

// ReserveRuns sets ids of runs aside.
func (s *Sink) ReserveRuns(ctx context.Context, n int64) (shift int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// Nobody takes an id between the two.
		if _, err := tx.Exec(ctx, "LOCK TABLE winch.runs IN EXCLUSIVE MODE"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT COALESCE(pg_sequence_last_value("+runSequence+"::regclass), 0)").Scan(&shift); err != nil || n == 0 {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT setval("+runSequence+", $1)", shift+n)
		return err
	})
	return shift, fault(ctx, "reserve ids of runs", err)
}

// importing is an import under way: a transaction, in which each table is a COPY
// that is fed through a pipe.
type importing struct {
	source string
	ctx    context.Context // of Import: governs the transaction
	pool   *pgxpool.Pool   // for what is not of the transaction
	conn   *pgxpool.Conn
	tx     pgx.Tx
	shift  int64 // added to the ids of runs
	// backfills are the new ids of backfills by the old ones.
	backfills map[int64]int64

	table  sink.ArchivedTable
	feed   *io.PipeWriter // of the COPY under way; nil if there is none
	buffer *bufio.Writer
	copied chan error
	line   []byte
}

// Import begins to take in a source.
func (s *Sink) Import(ctx context.Context, source string, shift int64) (sink.Import, error) {
	op := "import source " + source
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		conn.Release()
		return nil, fault(ctx, op, err)
	}
	i := &importing{source: source, ctx: ctx, pool: s.pool, conn: conn, tx: tx, shift: shift, backfills: map[int64]int64{}}
	if err := i.begin(ctx); err != nil {
		return nil, errors.Join(fault(ctx, op, err), i.Close())
	}
	return i, nil
}

func (i *importing) begin(ctx context.Context) error {
	if _, err := i.tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", lockKey("schema", i.source)); err != nil {
		return err
	}
	for _, name := range sink.OwnTables {
		var held bool
		if err := i.tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+quote(ownSchema, name)+" WHERE source = $1)", i.source).Scan(&held); err != nil {
			return err
		}
		if held {
			return sink.Occupied(i.source, "rows of it in "+ownSchema+"."+name)
		}
	}
	_, err := i.tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quote(i.source))
	return err
}

// Table begins a table.
func (i *importing) Table(ctx context.Context, t sink.ArchivedTable) error {
	op := "import table " + t.Name
	if err := i.finish(); err != nil {
		return err
	}
	i.table = t
	schema := ownSchema
	if !t.Own {
		schema = i.source
		if err := i.create(ctx, t); err != nil {
			return fault(ctx, op, err)
		}
	}
	var names []string
	for _, c := range t.Columns {
		if i.travels(c) {
			names = append(names, c.Name)
		}
	}
	read, write := io.Pipe()
	i.feed, i.buffer, i.copied = write, bufio.NewWriterSize(write, 256<<10), make(chan error, 1)
	sql := fmt.Sprintf("COPY %s (%s) FROM STDIN", quote(schema, t.Name), each(names, "%[1]s", ", "))
	go func(copied chan<- error) { // awaited by finish and Close
		_, err := i.conn.Conn().PgConn().CopyFrom(i.ctx, read, sql)
		_ = read.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // whoever writes on hears of it
		copied <- fault(i.ctx, op, err)
	}(i.copied)
	return nil
}

// create makes a stream's table, as Prepare would.
func (i *importing) create(ctx context.Context, t sink.ArchivedTable) error {
	stream := connector.Stream{Name: t.Name, PrimaryKey: t.Key}
	for _, c := range t.Columns {
		if !slices.Contains(record.AddedColumns, c.Name) {
			stream.Columns = append(stream.Columns, connector.Column{Name: c.Name, Type: c.Type})
		}
	}
	made := newTable(i.source, stream)
	rest, err := atRest(ctx, i.tx, made)
	if err != nil {
		return err
	}
	if rest.exists {
		return sink.Occupied(i.source, "a table "+made.String())
	}
	sql := made.create()
	if t.Cut.By != "" {
		sql += " PARTITION BY " + t.Cut.By
	}
	if _, err = i.tx.Exec(ctx, sql); err != nil {
		return err
	}
	for _, piece := range t.Cut.Pieces {
		if _, err := i.tx.Exec(ctx, fmt.Sprintf("CREATE TABLE %s PARTITION OF %s %s", quote(i.source, piece.Name), made.name(), piece.Bound)); err != nil {
			return err
		}
	}
	return nil
}

// travels reports whether a column's values are taken over. Ids are given by the
// table, but for runs and backfills, which other tables name.
func (i *importing) travels(c sink.ArchivedColumn) bool {
	return !i.table.Own || c.Name != "id" || i.table.Name == "runs" || i.table.Name == "backfills"
}

// Row takes in a row.
func (i *importing) Row(_ context.Context, values [][]byte) error {
	i.line = i.line[:0]
	for n, c := range i.table.Columns {
		if !i.travels(c) {
			continue
		}
		var err error
		if i.line, err = i.appendValue(i.line, c, values[n]); err != nil {
			return fmt.Errorf("import table %s: column %s: %w", i.table.Name, c.Name, err)
		}
		i.line = append(i.line, '\t')
	}
	i.line[len(i.line)-1] = '\n'
	if _, err := i.buffer.Write(i.line); err != nil {
		return i.finish() // which knows why
	}
	return nil
}

// appendValue appends a value as COPY reads it.
func (i *importing) appendValue(line []byte, c sink.ArchivedColumn, value []byte) ([]byte, error) {
	switch {
	case value == nil:
		return append(line, `\N`...), nil
	case c.Bytes:
		return append(append(line, `\\x`...), value...), nil
	case i.table.Own && (c.Name == sink.BackfillColumn || c.Name == "id" && i.table.Name == "backfills"):
		id, err := i.backfill(string(value))
		return strconv.AppendInt(line, id, 10), err
	case sink.RunColumns[c.Name] || i.table.Own && c.Name == "id":
		id, err := strconv.ParseInt(string(value), 10, 64)
		return strconv.AppendInt(line, id+i.shift, 10), err
	case i.table.Own && c.Name == "since" && len(value) == 0:
		return append(line, "-infinity"...), nil
	case i.table.Own && c.Name == "until" && len(value) == 0:
		return append(line, "infinity"...), nil
	}
	for _, b := range value {
		switch b {
		case '\\':
			line = append(line, `\\`...)
		case '\t':
			line = append(line, `\t`...)
		case '\n':
			line = append(line, `\n`...)
		case '\r':
			line = append(line, `\r`...)
		default:
			line = append(line, b)
		}
	}
	return line, nil
}

// backfill returns the id that a backfill gets here. The sequence is asked outside
// of the transaction, whose connection copies.
func (i *importing) backfill(text string) (int64, error) {
	old, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	id, known := i.backfills[old]
	if !known {
		err = i.pool.QueryRow(i.ctx, "SELECT nextval(pg_get_serial_sequence('winch.backfills', 'id'))").Scan(&id)
		i.backfills[old] = id
	}
	return id, err
}

// finish ends the COPY under way and returns what became of it.
func (i *importing) finish() error {
	if i.feed == nil {
		return nil
	}
	flushed := i.buffer.Flush()
	_ = i.feed.Close() // never fails
	i.feed = nil
	if err := <-i.copied; err != nil {
		return err
	}
	return flushed
}

// Commit makes all of it visible.
func (i *importing) Commit(ctx context.Context) error {
	if err := i.finish(); err != nil {
		return err
	}
	return fault(ctx, "import source "+i.source, i.tx.Commit(ctx))
}

// Close gives up what was not committed.
func (i *importing) Close() error {
	if i.conn == nil {
		return nil
	}
	if i.feed != nil {
		_ = i.feed.CloseWithError(errors.New("the import was given up"))
		i.feed = nil
		<-i.copied //nolint:errcheck // it was given up
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(i.ctx), endTimeout)
	defer cancel()
	if err := i.tx.Rollback(ctx); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		closeConn(ctx, i.conn.Conn()) // the transaction ends with the session
	}
	i.conn.Release()
	i.conn = nil
	return nil
}
