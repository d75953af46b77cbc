package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// ownSchema holds the agent's own tables.
const ownSchema = "winch"

// addedColumns are the columns that a sink adds to the declared ones.
var addedColumns = []struct {
	name, sqlType, constraint string
	foreign                   string // what rows of somebody else get
	comment                   string
}{
	{record.ColumnExtra, "json", "", "", "What the record held beyond the declared columns; null if nothing."},
	{record.ColumnRun, "bigint", " NOT NULL", "0", "The run that wrote the row last (winch.runs.id). A run that finds it unchanged does not write it."},
	{record.ColumnSeenAt, "timestamp with time zone", " NOT NULL", "'1970-01-01 00:00:00+00'", "When the attempt that wrote the row last began."},
	{record.ColumnHash, "bytea", " NOT NULL", "''", "Hash of the declared columns and _extra, by which unchanged rows are known."},
	{record.ColumnDeleted, "timestamp with time zone", "", "", "When the row was first missing from a snapshot; null while the vendor reports it."},
}

// Prepare makes the stream's table fit the stream.
func (s *Sink) Prepare(ctx context.Context, source string, stream connector.Stream, policy ledger.SchemaPolicy) (connector.Stream, error) {
	return s.PrepareSplit(ctx, source, stream, policy, ledger.Whole)
}

// PrepareSplit makes the stream's table fit the stream and the split.
func (s *Sink) PrepareSplit(ctx context.Context, source string, stream connector.Stream, policy ledger.SchemaPolicy, split ledger.Split) (connector.Stream, error) {
	stream = sink.SplitKey(stream, split)
	t := newTable(source, stream)
	t.split = split
	op := "prepare " + t.String()
	if err := validNames(op, source, stream); err != nil {
		return stream, err
	}
	if err := s.prepareSchema(ctx, source); err != nil {
		return stream, fault(ctx, op, err)
	}
	s.gates.of(t.lock()).prepare(makesIndexes(policy))
	fitted := stream
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", t.lock()); err != nil {
			return err
		}
		rest, err := atRest(ctx, tx, t)
		if err != nil {
			return err
		}
		var changes []string
		if changes, fitted, err = t.changes(op, rest, stream, policy); err != nil {
			return err
		}
		for _, change := range changes {
			if _, err := tx.Exec(ctx, change); err != nil {
				return err
			}
		}
		return nil
	})
	return fitted, fault(ctx, op, err)
}

// validNames refuses names that PostgreSQL would cut, or that belong to somebody
// else, before there is a statement with them.
func validNames(op, source string, stream connector.Stream) error {
	switch {
	case source == ownSchema || strings.HasPrefix(source, "pg_") || source == "information_schema":
		return &sink.Error{
			Fault: sink.FaultSchema, Op: op, Err: fmt.Errorf("the schema %s is not for sources", source),
			Hint: "give the source another name",
		}
	case !connector.ValidName(source):
		return &sink.Error{
			Fault: sink.FaultSchema, Op: op, Err: fmt.Errorf("%q cannot name the source of a table", source),
			Hint: "want lower case letters, digits and underscores, a letter first, at most 63",
		}
	}
	if err := stream.Validate(); err != nil {
		return &sink.Error{Fault: sink.FaultSchema, Op: op, Err: err, Hint: "correct the connector's declaration"}
	}
	return nil
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

func (t table) create() string {
	parts := make([]string, 0, len(t.columns)+len(addedColumns)+1)
	for _, c := range t.columns {
		parts = append(parts, t.columnType(c))
	}
	for _, c := range addedColumns {
		parts = append(parts, c.name+" "+c.sqlType+c.constraint)
	}
	parts = append(parts, "PRIMARY KEY ("+t.keyList()+")")
	sql := fmt.Sprintf("CREATE TABLE %s (%s)", t.name(), strings.Join(parts, ", "))
	if t.split.Cuts(t.asStream()) {
		sql += " PARTITION BY RANGE (" + quote(t.timeColumn.Name) + ")"
	}
	return sql
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
