package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// ownPrefix begins the names of the agent's own tables.
const ownPrefix = "winch."

// Sources implements sink.Archive.
func (s *Sink) Sources(ctx context.Context) ([]string, error) {
	sources, err := column(ctx, s.readers, `SELECT source FROM "winch.slices" UNION SELECT source FROM "winch.runs"
		UNION SELECT substr(t.name, 1, instr(t.name, '.') - 1) FROM sqlite_schema t JOIN pragma_table_info(t.name) c
			WHERE t.type = 'table' AND c.name = ? AND instr(t.name, '.') > 1
		ORDER BY 1`, record.ColumnHash)
	return sources, fault(ctx, "list the sources", err)
}

// Export implements sink.Archive.
func (s *Sink) Export(ctx context.Context, source string, to sink.Import) error {
	op := "export source " + source
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one picture of the file
	if err != nil {
		return fault(ctx, op, err)
	}
	defer tx.Rollback() //nolint:errcheck // it only read
	for _, name := range sink.OwnTables {
		if err := exportTable(ctx, tx, source, sink.ArchivedTable{Name: name, Own: true}, to); err != nil {
			return fault(ctx, op, err)
		}
	}
	streams, err := column(ctx, tx, `SELECT substr(t.name, length(?1) + 2) FROM sqlite_schema t JOIN pragma_table_info(t.name) c
		WHERE t.type = 'table' AND c.name = ?2 AND substr(t.name, 1, length(?1) + 1) = ?1 || '.' ORDER BY 1`, source, record.ColumnHash)
	if err != nil {
		return fault(ctx, op, err)
	}
	for _, name := range streams {
		if err := exportTable(ctx, tx, source, sink.ArchivedTable{Name: name}, to); err != nil {
			return fault(ctx, op, err)
		}
	}
	return nil
}

func exportTable(ctx context.Context, tx *sql.Tx, source string, t sink.ArchivedTable, to sink.Import) error {
	name := tableName(source, t.Name)
	if t.Own {
		name = ownPrefix + t.Name
	}
	declared, err := declaration(ctx, tx, name)
	if err != nil {
		return err
	}
	var values []string
	for _, c := range declared {
		column, value, ok := archived(c)
		if !ok || column.Bytes && !t.Own && c.name != record.ColumnHash {
			return sink.ForeignColumn(source, t.Name, c.name, c.typ)
		}
		t.Columns, values = append(t.Columns, column), append(values, value)
	}
	query := "SELECT " + strings.Join(values, ", ") + " FROM " + quote(name)
	var args []any
	if t.Own {
		query += " WHERE source = ? ORDER BY " + quoteAll("", keyOf(declared))
		args = append(args, source)
	} else {
		t.Key = keyOf(declared)
	}
	if err := to.Table(ctx, t); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	raw, row, into := make([]sql.RawBytes, len(values)), make([][]byte, len(values)), make([]any, len(values))
	for i := range raw {
		into[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range raw {
			row[i] = raw[i]
		}
		if err := to.Row(ctx, row); err != nil {
			return err
		}
	}
	return rows.Err()
}

const selectLastRun = `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'winch.runs'`

// LastRun implements sink.Archive.
func (s *Sink) LastRun(ctx context.Context) (last int64, err error) {
	err = s.readers.QueryRowContext(ctx, selectLastRun).Scan(&last)
	return last, fault(ctx, "look up the last run", err)
}

// ReserveRuns implements sink.Archive.
func (s *Sink) ReserveRuns(ctx context.Context, n int64) (shift int64, err error) {
	err = s.update(ctx, "reserve ids of runs", func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, selectLastRun).Scan(&shift); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM sqlite_sequence WHERE name = 'winch.runs'`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sqlite_sequence (name, seq) VALUES ('winch.runs', ?)`, shift+n)
		return err
	})
	return shift, err
}

// declared is a column as its table declares it.
type declared struct {
	name, typ string
	position  int // in the primary key, from 1
}

func declaration(ctx context.Context, tx *sql.Tx, table string) ([]declared, error) {
	rows, err := tx.QueryContext(ctx, `SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid`, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []declared
	for rows.Next() {
		var c declared
		if err := rows.Scan(&c.name, &c.typ, &c.position); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

func keyOf(columns []declared) []string {
	in := slices.DeleteFunc(slices.Clone(columns), func(c declared) bool { return c.position == 0 })
	slices.SortFunc(in, func(a, b declared) int { return a.position - b.position })
	names := make([]string, len(in))
	for i, c := range in {
		names[i] = c.name
	}
	return names
}

// archived returns a column as it travels, and its value in SQL. Most stand in the
// file as they travel.
func archived(c declared) (column sink.ArchivedColumn, value string, ok bool) {
	column.Name, value = c.name, quote(c.name)
	if c.typ == "BLOB" {
		column.Bytes = true
		return column, "lower(hex(" + value + "))", true
	}
	for typ, name := range columnTypes {
		if name == c.typ {
			column.Type = typ
		}
	}
	if column.Type == connector.TypeBoolean {
		value = "CAST(" + value + " AS INTEGER)" // the driver would make true and false of it
	}
	return column, value, column.Type != ""
}

// importing is an import under way: one transaction on the writer's connection.
type importing struct {
	source string
	ctx    context.Context
	tx     *sql.Tx
	done   func() // ends this sink's turn as the writer
	shift  int64  // added to the ids of runs
	// backfills is added to the ids of backfills, of which nobody else gives any
	// while the transaction is open.
	backfills int64

	table  sink.ArchivedTable
	types  []string // declared here, by column of the table; empty for one that does not travel
	insert *sql.Stmt
	args   []any
}

// Import implements sink.Archive.
func (s *Sink) Import(ctx context.Context, source string, shift int64) (sink.Import, error) {
	op := "import source " + source
	done, err := s.turn(ctx)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	tx, err := s.writers.BeginTx(ctx, nil)
	if err != nil {
		done()
		return nil, fault(ctx, op, err)
	}
	i := &importing{source: source, ctx: ctx, tx: tx, done: done, shift: shift}
	const lastBackfill = `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'winch.backfills'`
	if err := tx.QueryRowContext(ctx, lastBackfill).Scan(&i.backfills); err != nil {
		return nil, errors.Join(fault(ctx, op, err), i.Close())
	}
	for _, name := range sink.OwnTables {
		var held bool
		err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+quote(ownPrefix+name)+" WHERE source = ?)", source).Scan(&held)
		if err == nil && held {
			err = sink.Occupied(source, "rows of it in "+ownPrefix+name)
		}
		if err != nil {
			return nil, errors.Join(fault(ctx, op, err), i.Close())
		}
	}
	return i, nil
}

func (i *importing) Table(ctx context.Context, t sink.ArchivedTable) error {
	return fault(ctx, "import table "+t.Name, i.begin(ctx, t))
}

func (i *importing) begin(ctx context.Context, t sink.ArchivedTable) (err error) {
	if err := i.endTable(); err != nil {
		return err
	}
	i.table = t
	name := ownPrefix + t.Name
	if !t.Own {
		name = tableName(i.source, t.Name)
		if err := i.create(ctx, t); err != nil {
			return err
		}
	}
	here, err := declaration(ctx, i.tx, name)
	if err != nil {
		return err
	}
	types := map[string]string{}
	for _, c := range here {
		types[c.name] = c.typ
	}
	var names []string
	i.types = make([]string, len(t.Columns))
	for n, c := range t.Columns {
		if t.Own && c.Name == "id" && t.Name != "runs" && t.Name != "backfills" {
			continue // given anew
		}
		i.types[n] = types[c.Name]
		names = append(names, c.Name)
	}
	i.args = make([]any, len(names))
	i.insert, err = i.tx.PrepareContext(ctx, "INSERT INTO "+quote(name)+" ("+quoteAll("", names)+") "+values(i.args))
	return err
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
	rest, err := made.atRest(ctx, i.tx)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return sink.Occupied(i.source, "a table "+made.name)
	}
	_, err = i.tx.ExecContext(ctx, made.create())
	return err
}

func (i *importing) Row(ctx context.Context, values [][]byte) error {
	n := 0
	for k, typ := range i.types {
		if typ == "" {
			continue
		}
		value, err := i.value(i.table.Columns[k].Name, typ, values[k])
		if err != nil {
			return fmt.Errorf("import table %s: column %s: %w", i.table.Name, i.table.Columns[k].Name, err)
		}
		i.args[n] = value
		n++
	}
	_, err := i.insert.ExecContext(ctx, i.args...)
	return fault(ctx, "import table "+i.table.Name, err)
}

// value is a value as it stands in the file.
func (i *importing) value(column, typ string, text []byte) (any, error) {
	switch {
	case text == nil:
		return nil, nil
	case typ == "BLOB":
		return hex.DecodeString(string(text))
	case typ == columnTypes[connector.TypeDouble]:
		return strconv.ParseFloat(string(text), 64)
	case typ == columnTypes[connector.TypeBigint], typ == columnTypes[connector.TypeBoolean]:
		n, err := strconv.ParseInt(string(text), 10, 64)
		switch {
		case i.table.Own && (column == sink.BackfillColumn || column == "id" && i.table.Name == "backfills"):
			n += i.backfills
		case sink.RunColumns[column] || i.table.Own && column == "id":
			n += i.shift
		}
		return n, err
	default:
		return string(text), nil
	}
}

// endTable lets go of the statement of the table before.
func (i *importing) endTable() error {
	if i.insert == nil {
		return nil
	}
	insert := i.insert
	i.insert = nil
	return insert.Close()
}

func (i *importing) Commit(ctx context.Context) error {
	if err := i.endTable(); err != nil {
		return fault(ctx, "import source "+i.source, err)
	}
	return fault(ctx, "import source "+i.source, i.tx.Commit())
}

func (i *importing) Close() error {
	if i.tx == nil {
		return nil
	}
	err := errors.Join(i.endTable(), i.tx.Rollback())
	i.tx = nil
	i.done()
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return fault(context.WithoutCancel(i.ctx), "import source "+i.source, err)
}
