package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// restingTable is a table as it is in the database.
type restingTable struct {
	exists  bool
	kind    string // relkind of pg_class
	comment string
	cut     string     // by what a partitioned table is: strategy and columns
	key     []string   // of its primary key
	keys    [][]string // of all constraints and indexes that make rows unique
	columns map[string]restingColumn
	indexes []string // columns that are the first of an index
}

type restingColumn struct {
	Name, SQLType, Comment string
	Collation              string // empty for types that have none
	NotNull                bool
	Filled                 bool     // by a default, a sequence or an expression
	Generated              bool     // always, so that it cannot be written
	Views                  []string // that use it, with their schemas
}

// blocked says why the column's type cannot be changed; empty if it can.
func (c restingColumn) blocked() string {
	if len(c.Views) == 0 {
		return ""
	}
	return "it is used by " + strings.Join(c.Views, " and ") + ", which PostgreSQL wants dropped before the type changes and made again after"
}

// relationKinds are what can stand in a table's place (relkind of pg_class).
var relationKinds = map[string]string{
	"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence",
	"i": "an index", "I": "an index", "c": "a composite type", "t": "a TOAST table",
}

func atRest(ctx context.Context, tx pgx.Tx, t table) (rest restingTable, err error) {
	// A unique index holds the key if it is whole: valid, of all rows, of columns
	// and not of expressions.
	const tableQuery = `SELECT c.oid, c.relkind::text, COALESCE(obj_description(c.oid, 'pg_class'), ''), COALESCE(pg_get_partkeydef(c.oid), ''),
	ARRAY(SELECT a.attname::text FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (attnum, n)
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
		WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.n),
	ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2`
	const keysQuery = `SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k (attnum, n)
	JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts ORDER BY k.n)
FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL`
	const columnQuery = `SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), COALESCE(col_description(a.attrelid, a.attnum), ''),
	COALESCE((SELECT collname::text FROM pg_collation l WHERE l.oid = a.attcollation), ''), a.attnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a',
	ARRAY(SELECT DISTINCT quote_ident(vn.nspname) || '.' || quote_ident(v.relname) FROM pg_depend d
		JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace vn ON vn.oid = v.relnamespace
		WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
			AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND v.oid <> a.attrelid ORDER BY 1)
FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped`
	var oid uint32
	err = tx.QueryRow(ctx, tableQuery, t.source, t.stream).Scan(&oid, &rest.kind, &rest.comment, &rest.cut, &rest.key, &rest.indexes)
	if errors.Is(err, pgx.ErrNoRows) {
		return rest, nil
	}
	if err != nil {
		return rest, err
	}
	rest.exists = true
	rows, err := tx.Query(ctx, keysQuery, oid)
	if err != nil {
		return rest, err
	}
	if rest.keys, err = pgx.CollectRows(rows, pgx.RowTo[[]string]); err != nil {
		return rest, err
	}
	if rows, err = tx.Query(ctx, columnQuery, oid); err != nil {
		return rest, err
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[restingColumn])
	rest.columns = make(map[string]restingColumn, len(columns))
	for _, c := range columns {
		rest.columns[c.Name] = c
	}
	return rest, err
}

// changes returns the statements that make the table at rest fit the stream by
// the policy and the stream as its records are to be written then, or an error
// that says what cannot be made to fit.
func (t table) changes(op string, rest restingTable, stream connector.Stream, policy ledger.SchemaPolicy) ([]string, connector.Stream, error) {
	var changes []string
	if !rest.exists {
		changes = append(append(changes, t.create()), t.cut()...)
		rest.indexes = t.key[:1]
	} else {
		if err := t.usable(op, rest); err != nil {
			return nil, stream, err
		}
		var err error
		if stream, changes, err = sink.Reconcile(op, policy, stream, t.differences(rest)); err != nil {
			return nil, stream, err
		}
		if !makesIndexes(policy) {
			return changes, stream, nil // what nobody declared here is not touched either
		}
	}
	if name := t.timeColumn.Name; name != "" && !slices.Contains(rest.indexes, name) {
		// See makeTimeIndex. Rows that somebody else wrote lie anyhow.
		index := "USING brin (%s) WITH (autosummarize = on)"
		if _, ours := rest.columns[record.ColumnHash]; rest.exists && !ours {
			index = "(%s)"
		}
		changes = append(changes, fmt.Sprintf("CREATE INDEX ON %s "+index, t.name(), quote(name)))
	}
	return append(changes, t.comments(rest, stream)...), stream, nil
}

// makesIndexes reports whether a table that is there gets the index on the time.
func makesIndexes(policy ledger.SchemaPolicy) bool {
	return policy != ledger.SchemaFreeze && policy != ledger.SchemaQuarantine
}

// usable refuses a table that no column by column change makes fit.
func (t table) usable(op string, rest restingTable) error {
	refuse := func(hint, format string, args ...any) error {
		return &sink.Error{Fault: sink.FaultSchema, Op: op, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	rename := fmt.Sprintf("winch reset %s/%s sets the table aside, and the next pull makes it as declared; or rename or drop it yourself", t.source, t.stream)
	if rest.kind != "r" && rest.kind != "p" {
		return refuse("rename it, or give the source another name", "there is %s of this name", relationKinds[rest.kind])
	}
	if wrong, hint := t.misCut(rest); wrong != "" {
		return refuse(hint, "%s", wrong)
	}
	if !slices.ContainsFunc(rest.keys, func(key []string) bool { return sameColumns(key, t.key) }) {
		if rest.kind == "p" {
			rename = fmt.Sprintf("the key of a partitioned table holds the columns it is partitioned by: partition it by columns of (%s), or do not partition it", strings.Join(t.key, ", "))
			if t.timeColumn.Name != "" && t.isCut(rest) {
				rename += "; if winch cut it, set split for the stream again"
			}
		}
		return refuse(rename, "its primary key is (%s), the stream declares (%s)", strings.Join(rest.key, ", "), strings.Join(t.key, ", "))
	}
	for _, name := range t.key {
		if c, ok := rest.columns[name]; ok && !c.NotNull {
			return refuse(fmt.Sprintf("run ALTER TABLE %s ALTER COLUMN %s SET NOT NULL", t.name(), quote(name)), "column %s of its key may be null", name)
		}
	}
	written := t.content()
	for _, c := range addedColumns {
		written = append(written, c.name)
	}
	for _, name := range slices.Sorted(maps.Keys(rest.columns)) {
		switch c := rest.columns[name]; {
		case slices.Contains(written, name) && c.Generated:
			return refuse(fmt.Sprintf("drop the column from the table, or rename the table %s", t), "column %s is generated and cannot be written", name)
		case !slices.Contains(written, name) && c.NotNull && !c.Filled:
			// A column that somebody added, or that the stream no longer declares.
			return refuse(fmt.Sprintf("run ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL, or give it a default", t.name(), quote(name)),
				"column %s is not declared, must not be null and has no default: no row can be written", name)
		}
	}
	return nil
}

// differences compares the columns. The added ones can be put beside rows that
// somebody else wrote: those get a hash that no record has, so that they count as
// changed when their key is read.
func (t table) differences(rest restingTable) []sink.Difference {
	var all []sink.Difference
	for _, c := range t.columns {
		is, ok := rest.columns[c.Name]
		d := sink.Difference{Column: c.Name, Declared: sqlTypes[c.Type], AtRest: is.SQLType}
		alter := []string{fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s", t.name(), quote(c.Name), strings.TrimPrefix(t.columnType(c), quote(c.Name)+" "))}
		switch {
		case !ok:
			d.Safe = true
			d.Fix = []string{fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s", t.name(), t.columnType(c))}
		case is.SQLType == "text" && is.SQLType == d.Declared && is.Collation != "C" && slices.Contains(t.key, c.Name):
			// Text of two collations cannot be compared.
			d.Declared, d.AtRest = `text COLLATE "C"`, fmt.Sprintf("text COLLATE %q", is.Collation)
			d.Safe, d.Fix, d.Blocked = true, alter, is.blocked()
		case is.SQLType == d.Declared:
			continue
		default:
			d.Type = columnTypes[is.SQLType]
			d.Safe = sink.Widens(d.Type, c.Type) || widensSQL(is.SQLType, c.Type)
			d.Fix, d.Blocked = alter, is.blocked()
		}
		all = append(all, d)
	}
	for _, c := range addedColumns {
		is, ok := rest.columns[c.name]
		if ok && is.SQLType == c.sqlType {
			continue
		}
		d := sink.Difference{Column: c.name, Declared: c.sqlType, AtRest: is.SQLType, Own: true, Safe: true}
		d.Fix = []string{fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s%s", t.name(), c.name, c.sqlType, c.constraint)}
		if c.foreign != "" {
			d.Fix = []string{
				d.Fix[0] + " DEFAULT " + c.foreign,
				fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT", t.name(), c.name),
			}
		}
		all = append(all, d)
	}
	return all
}

// columnTypes is the inverse of sqlTypes.
var columnTypes = func() map[string]connector.Type {
	inverse := map[string]connector.Type{}
	for t, name := range sqlTypes {
		inverse[name] = t
	}
	return inverse
}()

// widensSQL reports whether a type that is none of ours can be changed into one of
// ours and keeps its values and what people compute from them.
func widensSQL(from string, to connector.Type) bool {
	base, _, _ := strings.Cut(from, "(")
	switch to {
	case connector.TypeText:
		return base == "character varying"
	case connector.TypeBigint:
		return base == "integer" || base == "smallint"
	case connector.TypeNumeric:
		return base == "numeric" || base == "integer" || base == "smallint"
	case connector.TypeTimestamp:
		return base == "timestamp" && strings.HasSuffix(from, " with time zone")
	default:
		return false
	}
}
