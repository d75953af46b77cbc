package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// ownSchema holds the agent's own tables.
const ownSchema = "winch"

// addedColumns are the columns that a sink adds to the declared ones.
var addedColumns = []struct{ name, sqlType, constraint, comment string }{
	{record.ColumnExtra, "json", "", "What the record held beyond the declared columns; null if nothing."},
	{record.ColumnRun, "bigint", " NOT NULL", "The run that wrote the row last (winch.runs.id). A run that finds it unchanged does not write it."},
	{record.ColumnSeenAt, "timestamp with time zone", " NOT NULL", "When the attempt that wrote the row last began."},
	{record.ColumnHash, "bytea", " NOT NULL", "Hash of the declared columns and _extra, by which unchanged rows are known."},
	{record.ColumnDeleted, "timestamp with time zone", "", "When the row was first missing from a snapshot; null while the vendor reports it."},
}

// Prepare makes the stream's table fit the stream.
func (s *Sink) Prepare(ctx context.Context, source string, stream connector.Stream) error {
	t := newTable(source, stream)
	op := "prepare " + t.String()
	if source == ownSchema || strings.HasPrefix(source, "pg_") || source == "information_schema" {
		return &sink.Error{
			Fault: sink.FaultSchema, Op: op, Err: fmt.Errorf("the schema %s is not for sources", source),
			Hint: "give the source another name",
		}
	}
	if err := s.prepareSchema(ctx, source); err != nil {
		return fault(ctx, op, err)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", t.lock()); err != nil {
			return err
		}
		rest, err := atRest(ctx, tx, t)
		if err != nil {
			return err
		}
		changes, err := t.changes(rest, stream)
		if err != nil {
			return &sink.Error{
				Fault: sink.FaultSchema, Op: op, Err: err,
				Hint: fmt.Sprintf("rename or drop the table %s and read the stream again: it is then made as declared", t),
			}
		}
		for _, change := range changes {
			if _, err := tx.Exec(ctx, change); err != nil {
				return err
			}
		}
		return nil
	})
	return fault(ctx, op, err)
}

// prepareSchema creates the schema of a source, in a transaction of its own: so
// nobody ever holds its lock and a table's.
func (s *Sink) prepareSchema(ctx context.Context, source string) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", lockKey("schema", source)); err != nil {
			return err
		}
		var exists bool
		const query = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
		if err := tx.QueryRow(ctx, query, source).Scan(&exists); err != nil || exists {
			return err
		}
		_, err := tx.Exec(ctx, "CREATE SCHEMA "+quote(source))
		return err
	})
}

// restingTable is a table as it is in the database.
type restingTable struct {
	exists  bool
	plain   bool // a table, not a view or the like
	comment string
	key     []string
	columns map[string]restingColumn
	indexes []string // columns that are the first of an index
}

type restingColumn struct{ Name, SQLType, Comment string }

func atRest(ctx context.Context, tx pgx.Tx, t table) (rest restingTable, err error) {
	const tableQuery = `SELECT c.oid, c.relkind IN ('r', 'p'), COALESCE(obj_description(c.oid, 'pg_class'), ''),
	ARRAY(SELECT a.attname::text FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (attnum, n)
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
		WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.n),
	ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2`
	const columnQuery = `SELECT attname::text, format_type(atttypid, atttypmod), COALESCE(col_description(attrelid, attnum), '')
FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped`
	var oid uint32
	err = tx.QueryRow(ctx, tableQuery, t.source, t.stream).Scan(&oid, &rest.plain, &rest.comment, &rest.key, &rest.indexes)
	if errors.Is(err, pgx.ErrNoRows) {
		return rest, nil
	}
	if err != nil {
		return rest, err
	}
	rows, err := tx.Query(ctx, columnQuery, oid)
	if err != nil {
		return rest, err
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[restingColumn])
	rest.exists, rest.columns = true, make(map[string]restingColumn, len(columns))
	for _, c := range columns {
		rest.columns[c.Name] = c
	}
	return rest, err
}

// changes returns the statements that make the table at rest fit the stream, or
// an error that says what cannot be made to fit.
func (t table) changes(rest restingTable, stream connector.Stream) ([]string, error) {
	var changes []string
	if !rest.exists {
		changes = append(changes, t.create())
		rest.indexes = t.key[:1]
	} else {
		add, err := t.evolve(rest)
		if err != nil {
			return nil, err
		}
		changes = add
	}
	if name := t.timeColumn.Name; name != "" && !slices.Contains(rest.indexes, name) {
		// What vanished from a window is looked for by time. Slices land one after
		// another, so that rows of a time lie together: a BRIN index then finds
		// them and costs next to nothing.
		changes = append(changes, fmt.Sprintf("CREATE INDEX ON %s USING brin (%s) WITH (autosummarize = on)", t.name(), quote(name)))
	}
	return append(changes, t.comments(rest, stream)...), nil
}

func (t table) create() string {
	parts := make([]string, 0, len(t.columns)+len(addedColumns)+1)
	for _, c := range t.columns {
		parts = append(parts, t.columnType(c))
	}
	for _, c := range addedColumns {
		parts = append(parts, c.name+" "+c.sqlType+c.constraint)
	}
	parts = append(parts, "PRIMARY KEY ("+t.keyList()+")")
	return fmt.Sprintf("CREATE TABLE %s (%s)", t.name(), strings.Join(parts, ", "))
}

// evolve adds the columns that are missing. It drops and changes nothing.
func (t table) evolve(rest restingTable) ([]string, error) {
	if !rest.plain {
		return nil, errors.New("there is a view or the like of this name")
	}
	if !slices.Equal(rest.key, t.key) {
		return nil, fmt.Errorf("its primary key is (%s), the stream declares (%s)", strings.Join(rest.key, ", "), strings.Join(t.key, ", "))
	}
	var changes []string
	var wrong []error
	fit := func(name, sqlType, declaration string) {
		switch c, ok := rest.columns[name]; {
		case !ok:
			changes = append(changes, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s", t.name(), declaration))
		case c.SQLType != sqlType:
			wrong = append(wrong, fmt.Errorf("column %s is %s, the stream declares %s", name, c.SQLType, sqlType))
		}
	}
	for _, c := range t.columns {
		fit(c.Name, sqlTypes[c.Type], t.columnType(c))
	}
	for _, c := range addedColumns {
		fit(c.name, c.sqlType, c.name+" "+c.sqlType+c.constraint)
	}
	if len(wrong) > 0 {
		return nil, joinLine(wrong)
	}
	return changes, nil
}

// joinLine joins errors on one line.
func joinLine(errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

// comments returns the statements for comments that are not yet as declared.
func (t table) comments(rest restingTable, stream connector.Stream) []string {
	var changes []string
	if stream.Description != rest.comment {
		changes = append(changes, fmt.Sprintf("COMMENT ON TABLE %s IS %s", t.name(), literal(stream.Description)))
	}
	comment := func(column, text string) {
		if text != rest.columns[column].Comment {
			changes = append(changes, fmt.Sprintf("COMMENT ON COLUMN %s.%s IS %s", t.name(), quote(column), literal(text)))
		}
	}
	for _, c := range t.columns {
		comment(c.Name, c.Description)
	}
	for _, c := range addedColumns {
		comment(c.name, c.comment)
	}
	return changes
}

// literal is an SQL string of any text. COMMENT takes no parameters; the E form
// means the same whatever standard_conforming_strings says.
func literal(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(storable(text)) + "'"
}
