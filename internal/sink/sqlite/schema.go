package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// columnTypes are the declared types of columns. They tell people and programs
// what stands there, and SQLite how to keep it: by its rules, which look for parts
// of the word, those with TEXT in them keep text as it is
// (https://sqlite.org/datatype3.html#determination_of_column_affinity). INTEGER is
// spelled so because only that makes a key the row's own id.
var columnTypes = map[connector.Type]string{
	connector.TypeText:      "TEXT",
	connector.TypeBigint:    "INTEGER",
	connector.TypeNumeric:   "NUMERIC_TEXT",
	connector.TypeDouble:    "DOUBLE",
	connector.TypeBoolean:   "BOOLEAN",
	connector.TypeDate:      "DATE_TEXT",
	connector.TypeTimestamp: "TIMESTAMPTZ_TEXT",
	connector.TypeJSON:      "JSON_TEXT",
}

// addedColumns are those that every table has beside the declared ones.
var addedColumns = []struct{ name, definition string }{
	{record.ColumnRun, "INTEGER NOT NULL"},
	{record.ColumnSeenAt, "TIMESTAMPTZ_TEXT NOT NULL"},
	{record.ColumnHash, "BLOB NOT NULL"},
	{record.ColumnExtra, "JSON_TEXT"},
	{record.ColumnDeleted, "TIMESTAMPTZ_TEXT"},
}

// A table is what a stream's table has to be.
type table struct {
	name    string
	stream  connector.Stream
	columns []connector.Column // stored
}

func newTable(source string, stream connector.Stream) table {
	return table{
		name: tableName(source, stream.Name), stream: stream,
		columns: slices.DeleteFunc(slices.Clone(stream.Columns), func(c connector.Column) bool { return c.Secret }),
	}
}

// Prepare implements sink.Sink. SQLite has no comments, so descriptions are not
// kept. A window stream gets an index on its time column, which replacing a window
// needs.
func (s *Sink) Prepare(ctx context.Context, source string, stream connector.Stream) error {
	t := newTable(source, stream)
	op := "prepare " + t.name
	if err := t.validate(source); err != nil {
		return err
	}
	// Nearly always there is nothing to do, and then nobody need wait for a writer.
	if changes, err := t.changes(ctx, s.readers); err != nil || len(changes) == 0 {
		return fault(ctx, op, err)
	}
	return s.update(ctx, op, func(tx *sql.Tx) error {
		changes, err := t.changes(ctx, tx)
		if err != nil {
			return err
		}
		for _, change := range changes {
			if _, err := tx.ExecContext(ctx, change); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t table) validate(source string) error {
	if err := t.stream.Validate(); err != nil {
		return t.misfit("correct the connector's declaration", "%w", err)
	}
	if !connector.ValidName(source) || source == "winch" || strings.HasPrefix(source, "sqlite_") {
		return t.misfit("choose another name for the source", "%q cannot name the source of a table", source)
	}
	return nil
}

// misfit is the error of a table that cannot take the stream.
func (t table) misfit(hint, format string, args ...any) error {
	return &sink.Error{Fault: sink.FaultSchema, Op: "prepare " + t.name, Err: fmt.Errorf(format, args...), Hint: hint}
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// changes returns the statements that make the table fit, none if it does.
func (t table) changes(ctx context.Context, q querier) ([]string, error) {
	types, key, err := t.atRest(ctx, q)
	if err != nil {
		return nil, err
	}
	var changes []string
	if len(types) == 0 {
		changes = append(changes, t.create())
	} else {
		if changes, err = t.extend(types, key); err != nil {
			return nil, err
		}
	}
	if t.stream.TimeColumn == "" {
		return changes, nil
	}
	index := t.name + "." + t.stream.TimeColumn
	names, err := column(ctx, q, `SELECT name FROM sqlite_schema WHERE type = 'index' AND name = ?`, index)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		changes = append(changes, fmt.Sprintf("CREATE INDEX %s ON %s (%s)", quote(index), quote(t.name), quote(t.stream.TimeColumn)))
	}
	return changes, nil
}

// atRest returns the declared types of the table's columns and its primary key;
// no types if there is no table.
func (t table) atRest(ctx context.Context, q querier) (types map[string]string, key []string, err error) {
	rows, err := q.QueryContext(ctx, `SELECT name, type, pk FROM pragma_table_info(?) ORDER BY pk`, t.name)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	types = map[string]string{}
	for rows.Next() {
		var (
			name, typ string
			position  int
		)
		if err := rows.Scan(&name, &typ, &position); err != nil {
			return nil, nil, err
		}
		types[name] = typ
		if position > 0 {
			key = append(key, name)
		}
	}
	return types, key, rows.Err()
}

// create returns the statement that makes the table. Its rows lie in the order of
// the key, which is also the order in which a slice is merged.
func (t table) create() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (", quote(t.name))
	for _, c := range t.columns {
		fmt.Fprintf(&b, "\n    %s %s", quote(c.Name), columnTypes[c.Type])
		if slices.Contains(t.stream.PrimaryKey, c.Name) {
			b.WriteString(" NOT NULL")
		}
		b.WriteByte(',')
	}
	for _, c := range addedColumns {
		fmt.Fprintf(&b, "\n    %s %s,", quote(c.name), c.definition)
	}
	fmt.Fprintf(&b, "\n    PRIMARY KEY (%s)\n)", quoteAll("", t.stream.PrimaryKey))
	if !t.keyIsRowID() {
		b.WriteString(" WITHOUT ROWID")
	}
	return b.String()
}

// keyIsRowID reports whether the key is a single integer.
func (t table) keyIsRowID() bool {
	c, _ := t.stream.Column(t.stream.PrimaryKey[0])
	return len(t.stream.PrimaryKey) == 1 && c.Type == connector.TypeBigint
}

// extend returns the statements that add what the table lacks.
func (t table) extend(types map[string]string, key []string) ([]string, error) {
	const hint = "rename or drop the table, and read the stream again from its beginning"
	if want := t.stream.PrimaryKey; !slices.Equal(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(key))) {
		return nil, t.misfit(hint, "the primary key is (%s), the stream declares (%s)", strings.Join(key, ", "), strings.Join(want, ", "))
	}
	for _, c := range addedColumns {
		if _, ok := types[c.name]; !ok {
			return nil, t.misfit(hint, "the table lacks %s: winch did not make it", c.name)
		}
	}
	var changes []string
	for _, c := range t.columns {
		want := columnTypes[c.Type]
		switch is, ok := types[c.Name]; {
		case !ok:
			changes = append(changes, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", quote(t.name), quote(c.Name), want))
		case is != want:
			return nil, t.misfit(hint, "column %s is %s, the stream declares %s", c.Name, is, want)
		}
	}
	return changes, nil
}

// column returns the first column of a query's rows.
func column(ctx context.Context, q querier, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// quoteAll returns the names as a list, each behind the prefix.
func quoteAll(prefix string, names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = prefix + quote(name)
	}
	return strings.Join(quoted, ", ")
}
