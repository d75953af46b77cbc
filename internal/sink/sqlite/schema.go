package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/winchdata/winch/internal/ledger"
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
var addedColumns = []struct {
	name, definition string
	foreign          string // what rows of somebody else get
}{
	{record.ColumnRun, "INTEGER NOT NULL", "0"},
	{record.ColumnSeenAt, "TIMESTAMPTZ_TEXT NOT NULL", "'1970-01-01T00:00:00.000000Z'"},
	{record.ColumnHash, "BLOB NOT NULL", "x''"},
	{record.ColumnExtra, "JSON_TEXT", ""},
	{record.ColumnDeleted, "TIMESTAMPTZ_TEXT", ""},
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
func (s *Sink) Prepare(ctx context.Context, source string, stream connector.Stream, policy ledger.SchemaPolicy) (connector.Stream, error) {
	t := newTable(source, stream)
	op := "prepare " + t.name
	if err := t.validate(source); err != nil {
		return stream, err
	}
	// Nearly always there is nothing to do, and then nobody need wait for a writer.
	changes, fitted, err := t.changes(ctx, s.readers, policy)
	if err != nil || len(changes) == 0 {
		return fitted, fault(ctx, op, err)
	}
	err = s.update(ctx, op, func(tx *sql.Tx) error {
		if changes, fitted, err = t.changes(ctx, tx, policy); err != nil {
			return err
		}
		for _, change := range changes {
			if _, err := tx.ExecContext(ctx, change); err != nil {
				return t.unchanged(ctx, change, err)
			}
		}
		return nil
	})
	return fitted, fault(ctx, op, err)
}

// unchanged is the error of a statement that did not change the table.
func (t table) unchanged(ctx context.Context, change string, err error) error {
	var store *sink.Error
	if err = fault(ctx, "prepare "+t.name, err); errors.As(err, &store) && store.Fault == sink.FaultSchema {
		return t.misfit("drop the view, index or trigger that uses the column, pull, and make it again", "%s: %w", change, store.Err)
	}
	return err
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

// changes returns the statements that make the table fit by the policy, none if it
// does, and the stream as its records are to be written then.
func (t table) changes(ctx context.Context, q querier, policy ledger.SchemaPolicy) (changes []string, fitted connector.Stream, err error) {
	fitted = t.stream
	rest, err := t.atRest(ctx, q)
	if err != nil {
		return nil, fitted, err
	}
	if len(rest) == 0 {
		changes = append(changes, t.create())
	} else {
		if err := t.usable(ctx, q, rest); err != nil {
			return nil, fitted, err
		}
		if fitted, changes, err = sink.Reconcile("prepare "+t.name, policy, t.stream, t.differences(rest)); err != nil {
			return nil, fitted, err
		}
		if policy == ledger.SchemaFreeze || policy == ledger.SchemaQuarantine {
			return changes, fitted, nil
		}
	}
	if t.stream.TimeColumn == "" {
		return changes, fitted, nil
	}
	index := t.name + "." + t.stream.TimeColumn
	names, err := column(ctx, q, `SELECT name FROM sqlite_schema WHERE type = 'index' AND name = ?`, index)
	if err != nil {
		return nil, fitted, err
	}
	if len(names) == 0 {
		changes = append(changes, fmt.Sprintf("CREATE INDEX %s ON %s (%s)", quote(index), quote(t.name), quote(t.stream.TimeColumn)))
	}
	return changes, fitted, nil
}

// A restingColumn is a column as it is in the file.
type restingColumn struct {
	name, typ string
	notNull   bool
	filled    bool // by a default
	generated bool
	position  int // in the primary key, from 1; 0 outside of it
}

// atRest returns the columns of the table, by their names in lower case: SQLite
// does not tell them apart by it.
func (t table) atRest(ctx context.Context, q querier) (map[string]restingColumn, error) {
	rows, err := q.QueryContext(ctx, `SELECT name, type, "notnull", dflt_value IS NOT NULL, hidden > 1, pk FROM pragma_table_xinfo(?)`, t.name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	rest := map[string]restingColumn{}
	for rows.Next() {
		var c restingColumn
		if err := rows.Scan(&c.name, &c.typ, &c.notNull, &c.filled, &c.generated, &c.position); err != nil {
			return nil, err
		}
		rest[strings.ToLower(c.name)] = c
	}
	return rest, rows.Err()
}

func keyAtRest(rest map[string]restingColumn) (key []string) {
	for name, c := range rest {
		if c.position > 0 {
			key = append(key, name)
		}
	}
	slices.SortFunc(key, func(a, b string) int { return rest[a].position - rest[b].position })
	return key
}

func sameColumns(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// usable refuses a table that no column by column change makes fit.
func (t table) usable(ctx context.Context, q querier, rest map[string]restingColumn) error {
	source, stream, _ := strings.Cut(t.name, ".")
	rename := fmt.Sprintf("winch reset %s/%s sets the table aside, and the next pull makes it as declared; or rename or drop it yourself", source, stream)
	kinds, err := column(ctx, q, `SELECT type FROM sqlite_schema WHERE lower(name) = lower(?) AND type IN ('table', 'view')`, t.name)
	if err != nil {
		return err
	}
	if !slices.Equal(kinds, []string{"table"}) {
		return t.misfit("rename it, or give the source another name", "there is a view of this name")
	}
	key := keyAtRest(rest)
	if want := t.stream.PrimaryKey; !sameColumns(want, key) {
		return t.misfit(rename, "the primary key is (%s), the stream declares (%s)", strings.Join(key, ", "), strings.Join(want, ", "))
	}
	written := []string{}
	for _, c := range t.columns {
		written = append(written, c.Name)
	}
	for _, c := range addedColumns {
		written = append(written, c.name)
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		switch c := rest[name]; {
		case slices.Contains(written, name) && c.generated:
			return t.misfit(rename, "column %s is generated and cannot be written", name)
		case !slices.Contains(written, name) && c.notNull && !c.filled && !c.generated:
			// A column that somebody added, or that the stream no longer declares.
			return t.misfit("drop the column, or "+rename, "column %s is not declared, must not be null and has no default: no row can be written", name)
		}
	}
	return nil
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

// differences compares the columns. The added ones can be put beside rows that
// somebody else wrote: those get a hash that no record has, so that they count as
// changed when their key is read.
func (t table) differences(rest map[string]restingColumn) []sink.Difference {
	var all []sink.Difference
	for _, c := range t.columns {
		is, ok := rest[c.Name]
		d := sink.Difference{Column: c.Name, Declared: columnTypes[c.Type], AtRest: is.typ}
		switch {
		case !ok:
			d.Safe = true
			d.Fix = []string{fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", quote(t.name), quote(c.Name), d.Declared)}
		case strings.EqualFold(is.typ, d.Declared):
			continue
		default:
			if is.typ == "" {
				d.AtRest = "of no type"
			}
			d.Type = typeOf(is.typ)
			d.Safe = sink.Widens(d.Type, c.Type)
			switch {
			case d.Safe && is.position > 0:
				d.Blocked = "SQLite cannot change the type of a key"
			case d.Safe:
				d.Fix = t.widen(is.name, d.Declared)
			}
		}
		all = append(all, d)
	}
	for _, c := range addedColumns {
		is, ok := rest[c.name]
		typ, _, _ := strings.Cut(c.definition, " ")
		if ok && strings.EqualFold(is.typ, typ) {
			continue
		}
		fix := fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", quote(t.name), quote(c.name), c.definition)
		if c.foreign != "" {
			fix += " DEFAULT " + c.foreign
		}
		all = append(all, sink.Difference{Column: c.name, Declared: typ, AtRest: is.typ, Own: true, Safe: true, Fix: []string{fix}})
	}
	return all
}

// typeOf is the inverse of columnTypes.
func typeOf(name string) connector.Type {
	for t, declared := range columnTypes {
		if strings.EqualFold(name, declared) {
			return t
		}
	}
	return ""
}

// widen returns the statements that give a column another type, which SQLite does
// by another column in its place. They fail where a view, an index or a trigger
// uses it.
func (t table) widen(name, declared string) []string {
	const wider = "_winch_wider"
	return []string{
		fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", quote(t.name), wider, declared),
		fmt.Sprintf("UPDATE %s SET %s = CAST(%s AS TEXT)", quote(t.name), wider, quote(name)),
		fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", quote(t.name), quote(name)),
		fmt.Sprintf("ALTER TABLE %s RENAME COLUMN %s TO %s", quote(t.name), wider, quote(name)),
	}
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
