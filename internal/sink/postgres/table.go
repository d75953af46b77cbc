package postgres

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/zeebo/xxh3"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

// A table is what the statements about a stream's table are made from. In them t
// is the table, s the staging table, u the table of keys that the attempt reported
// and found unchanged.
type table struct {
	source, stream string
	columns        []connector.Column // stored
	key            []string           // names
	keyColumns     []int              // where they are in columns
	mode           connector.Mode
	timeColumn     connector.Column // zero without one
	partition      string           // the column with the partition's name; empty without one
	split          ledger.Split     // into which pieces a table is cut that is made
}

// Temporary tables of a writer's connection.
const (
	staging   = "pg_temp.winch_staging"
	unchanged = "pg_temp.winch_unchanged"

	// columnAgain is null in a staged row whose key came for the first time in the
	// attempt, and a number that grows with each row in others.
	columnAgain = "_winch_again"
)

func newTable(source string, stream connector.Stream) table {
	t := table{source: source, stream: stream.Name, key: stream.PrimaryKey, mode: stream.Mode, partition: stream.PartitionColumn}
	for _, c := range stream.Columns {
		if !c.Secret {
			t.columns = append(t.columns, c)
		}
	}
	for _, name := range t.key {
		t.keyColumns = append(t.keyColumns, slices.IndexFunc(t.columns, func(c connector.Column) bool { return c.Name == name }))
	}
	if c, ok := stream.Column(stream.TimeColumn); ok && stream.Mode == connector.ModeWindow {
		t.timeColumn = c
	}
	return t
}

func quote(names ...string) string { return pgx.Identifier(names).Sanitize() }

// name is the table's name with its schema, for SQL.
func (t table) name() string { return quote(t.source, t.stream) }

// String is the table's name for people.
func (t table) String() string { return t.source + "." + t.stream }

// lock is the key of the advisory lock under which the table is changed. Whoever
// takes it takes no other, so there is no order to get wrong.
func (t table) lock() int64 { return lockKey("table", t.source, t.stream) }

// lockKey spreads names over the 64 bits of advisory locks.
func lockKey(parts ...string) int64 {
	return int64(xxh3.HashString("winch/" + strings.Join(parts, "/")))
}

var sqlTypes = map[connector.Type]string{
	connector.TypeText:      "text",
	connector.TypeBigint:    "bigint",
	connector.TypeNumeric:   "numeric",
	connector.TypeDouble:    "double precision",
	connector.TypeBoolean:   "boolean",
	connector.TypeDate:      "date",
	connector.TypeTimestamp: "timestamp with time zone",
	// What jsonb cannot hold, such as \u0000, the decoder replaces and keeps in
	// _extra, which is json.
	connector.TypeJSON: "jsonb",
}

// each applies the format to each name, quoted, and joins the results. The format
// uses %[1]s.
func each(names []string, format, separator string) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf(format, quote(name))
	}
	return strings.Join(parts, separator)
}

func (t table) columnNames() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.Name
	}
	return names
}

// content are the columns that a record fills.
func (t table) content() []string {
	return append(t.columnNames(), record.ColumnExtra, record.ColumnHash)
}

func (t table) keyList() string { return each(t.key, "%[1]s", ", ") }

// same is the condition that two aliases hold the same key.
func (t table) same(a, b string) string {
	return each(t.key, a+".%[1]s = "+b+".%[1]s", " AND ")
}

// differs is the condition that a staged row is not at rest as it is. A marked
// row that is reported again loses its mark.
func (t table) differs() string {
	return fmt.Sprintf("(t.%s <> s.%s OR t.%s IS NOT NULL)",
		record.ColumnHash, record.ColumnHash, record.ColumnDeleted)
}

// createStaging makes the staging table of an attempt, for more than one transaction
// if it is to be kept.
func (t table) createStaging(run int64, startedAt time.Time, keep bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TEMPORARY TABLE %s (", strings.TrimPrefix(staging, "pg_temp."))
	for _, c := range t.columns {
		fmt.Fprintf(&b, "%s, ", t.columnType(c))
	}
	fmt.Fprintf(&b, "%s json, %s bytea, %s bigint DEFAULT %d, %s timestamp with time zone DEFAULT %s, %s bigint) %s",
		record.ColumnExtra, record.ColumnHash, record.ColumnRun, run, record.ColumnSeenAt, sqlTime(startedAt), columnAgain, onCommit(keep))
	return b.String()
}

// markDefaults makes the mark of an attempt the default of its columns.
func (t table) markDefaults(run int64, startedAt time.Time) string {
	return fmt.Sprintf("ALTER TABLE %s ALTER %s SET DEFAULT %d, ALTER %s SET DEFAULT %s",
		t.name(), record.ColumnRun, run, record.ColumnSeenAt, sqlTime(startedAt))
}

func (t table) dropMarkDefaults() string {
	return fmt.Sprintf("ALTER TABLE %s ALTER %s DROP DEFAULT, ALTER %s DROP DEFAULT", t.name(), record.ColumnRun, record.ColumnSeenAt)
}

// sqlTime is a time for DDL, which takes no parameters.
func sqlTime(at time.Time) string {
	return "'" + at.UTC().Format("2006-01-02 15:04:05.999999") + "+00'"
}

// columnType is a column as CREATE TABLE declares it. The text of keys compares
// by its bytes: that is faster, and it does not change with the operating
// system's collations, which would break the index.
func (t table) columnType(c connector.Column) string {
	collate := ""
	if c.Type == connector.TypeText && slices.Contains(t.key, c.Name) {
		collate = ` COLLATE "C"`
	}
	return quote(c.Name) + " " + sqlTypes[c.Type] + collate
}

// copyInto is the COPY of rows into the table itself or the staging table. Rows that
// are not marked get what is the columns' default meanwhile (see markDefaults).
func (t table) copyInto(name string, marked, again bool) string {
	columns := t.content()
	if marked {
		columns = append(columns, record.ColumnRun, record.ColumnSeenAt)
	}
	if again {
		columns = append(columns, columnAgain)
	}
	return fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary)", name, each(columns, "%[1]s", ", "))
}

// analyze tells the planner how many rows are staged. It would guess from the
// table's size and the types of its columns, which for wide rows is off by orders
// of magnitude, and scan a large table where a few look-ups would do.
func (t table) analyze(of string) string { return fmt.Sprintf("ANALYZE %s (%s)", of, t.keyList()) }

// dedupe deletes all but the last staged row of each key that came again (I2).
func (t table) dedupe() string {
	return fmt.Sprintf(`DELETE FROM %s s
USING (SELECT %s, max(%[3]s) AS last FROM %[1]s WHERE %[3]s IS NOT NULL GROUP BY %[2]s) r
WHERE %[4]s AND s.%[3]s IS DISTINCT FROM r.last`, staging, t.keyList(), columnAgain, t.same("s", "r"))
}

// insert adds staged rows; if the table may have rows, only those whose key is
// new.
func (t table) insert(empty bool) string {
	columns := append(t.content(), record.ColumnRun, record.ColumnSeenAt)
	sql := fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s s", t.name(), each(columns, "%[1]s", ", "), each(columns, "s.%[1]s", ", "), staging)
	if !empty {
		sql += fmt.Sprintf(" WHERE NOT EXISTS (SELECT FROM %s t WHERE %s)", t.name(), t.same("t", "s"))
	}
	return sql
}

// update overwrites rows whose content differs.
func (t table) update() string {
	columns := append(t.content(), record.ColumnRun, record.ColumnSeenAt)
	columns = slices.DeleteFunc(columns, func(name string) bool { return slices.Contains(t.key, name) })
	return fmt.Sprintf("UPDATE %s t SET %s, %s = NULL FROM %s s WHERE %s AND %s",
		t.name(), each(columns, "%[1]s = s.%[1]s", ", "), record.ColumnDeleted, staging, t.same("t", "s"), t.differs())
}

// mine is the condition that the attempt itself wrote the row, in this or an
// earlier part: $1 is its run, $2 when it began.
func (t table) mine() string {
	return fmt.Sprintf("(t.%s = $1::bigint AND t.%s = $2::timestamptz)", record.ColumnRun, record.ColumnSeenAt)
}

// notReported is the condition that the attempt did not report the row's key: it
// neither wrote the row nor found it unchanged. Parameters as for mine.
func (t table) notReported(staged, kept bool) string {
	sql := "NOT " + t.mine()
	if staged {
		sql += fmt.Sprintf(" AND NOT EXISTS (SELECT FROM %s s WHERE %s)", staging, t.same("s", "t"))
	}
	if kept {
		sql += fmt.Sprintf(" AND NOT EXISTS (SELECT FROM %s u WHERE %s)", unchanged, t.same("u", "t"))
	}
	return sql
}

// scope is the condition that the slice should hold the row, or did: for a window
// $4 and $5 are its bounds. $3 is the slice's partition.
func (t table) scope() string {
	if t.mode == connector.ModeSnapshot {
		return fmt.Sprintf("t.%s IS NULL AND %s", record.ColumnDeleted, t.inPartition())
	}
	return fmt.Sprintf("t.%[1]s >= $4::%[2]s AND t.%[1]s < $5::%[2]s AND %[3]s",
		quote(t.timeColumn.Name), sqlTypes[t.timeColumn.Type], t.inPartition())
}

// countScope counts the rows in the scope. It takes all parameters of
// removeVanished.
func (t table) countScope() string {
	return fmt.Sprintf("SELECT count(*) FROM %s t WHERE $1::bigint IS NOT NULL AND $2::timestamptz IS NOT NULL AND %s", t.name(), t.scope())
}

// removeVanished marks what a snapshot no longer holds, or deletes what a window
// no longer holds.
func (t table) removeVanished(staged, kept bool) string {
	where := t.scope() + " AND " + t.notReported(staged, kept)
	if t.mode == connector.ModeSnapshot {
		return fmt.Sprintf("UPDATE %s t SET %s = $2::timestamptz WHERE %s", t.name(), record.ColumnDeleted, where)
	}
	return fmt.Sprintf("DELETE FROM %s t WHERE %s", t.name(), where)
}

// inPartition is the condition that a row belongs to the partition $3, which is
// empty for slices of streams without partitions.
func (t table) inPartition() string {
	if t.partition == "" {
		return "$3::text = ''"
	}
	return fmt.Sprintf("($3::text = '' OR t.%s::text = $3::text)", quote(t.partition))
}

func (t table) createUnchanged(keep bool) string {
	var b strings.Builder
	for i, k := range t.keyColumns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(t.columnType(t.columns[k]))
	}
	return fmt.Sprintf("CREATE TEMPORARY TABLE %s (%s) %s", strings.TrimPrefix(unchanged, "pg_temp."), b.String(), onCommit(keep))
}

func onCommit(keep bool) string {
	if keep {
		return "ON COMMIT PRESERVE ROWS"
	}
	return "ON COMMIT DROP"
}

func (t table) copyUnchanged() string {
	return fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary)", unchanged, t.keyList())
}

// keepUnchanged remembers, for the rest of the attempt, the staged keys that were
// not written because nothing differed. Parameters as for mine.
func (t table) keepUnchanged() string {
	return fmt.Sprintf("INSERT INTO %s SELECT %s FROM %s s JOIN %s t ON %s WHERE NOT %s",
		unchanged, each(t.key, "s.%[1]s", ", "), staging, t.name(), t.same("t", "s"), t.mine())
}

// recount counts, of the staged rows whose key the attempt reported before, all,
// and those that differ from what the attempt itself wrote. Parameters as for
// mine; it comes before update.
func (t table) recount(kept bool) string {
	before := t.mine()
	if kept {
		before = fmt.Sprintf("(%s OR EXISTS (SELECT FROM %s u WHERE %s))", before, unchanged, t.same("u", "s"))
	}
	return fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE %s AND %s) FROM %s s JOIN %s t ON %s WHERE s.%s IS NOT NULL AND %s",
		t.differs(), t.mine(), staging, t.name(), t.same("t", "s"), columnAgain, before)
}

// ask finds which rows are not at rest as they are, given their keys and hashes
// as arrays, the hashes last: it returns their numbers, from 1. Each key is looked
// up by itself, OFFSET sees to that: other plans read the whole table for each
// chunk, or compare each key with each.
func (t table) ask() string {
	var arrays, names, same strings.Builder
	for i, k := range t.keyColumns {
		fmt.Fprintf(&arrays, "$%d::%s[], ", i+1, sqlTypes[t.columns[k].Type])
		fmt.Fprintf(&names, "k%d, ", i)
		fmt.Fprintf(&same, "t.%s = a.k%d AND ", quote(t.key[i]), i)
	}
	return fmt.Sprintf(`SELECT a.number FROM unnest(%s$%d::bytea[]) WITH ORDINALITY AS a(%shash, number)
LEFT JOIN LATERAL (SELECT %[4]s, %[5]s FROM %[6]s t WHERE %[7]strue OFFSET 0) t ON true
WHERE t.%[4]s IS DISTINCT FROM a.hash OR t.%[5]s IS NOT NULL`,
		arrays.String(), len(t.key)+1, names.String(), record.ColumnHash, record.ColumnDeleted, t.name(), same.String())
}

// atRestBetween returns keys and hashes of at most $1 rows between two keys, whose
// values are the parameters that follow.
func (t table) atRestBetween() string {
	var bounds [2]strings.Builder
	for i, k := range t.keyColumns {
		for b := range bounds {
			if i > 0 {
				bounds[b].WriteString(", ")
			}
			fmt.Fprintf(&bounds[b], "$%d::%s", 2+b*len(t.key)+i, sqlTypes[t.columns[k].Type])
		}
	}
	keys := each(t.key, "t.%[1]s", ", ")
	return fmt.Sprintf("SELECT %[1]s, t.%[2]s FROM %[3]s t WHERE (%[1]s) >= (%[4]s) AND (%[1]s) <= (%[5]s) AND t.%[6]s IS NULL LIMIT $1::bigint",
		keys, record.ColumnHash, t.name(), bounds[0].String(), bounds[1].String(), record.ColumnDeleted)
}
