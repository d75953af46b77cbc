package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/zeebo/xxh3"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

// A table is what the statements about a stream's table are made from. In them t
// is the table, s the staging table, w the table of keys that earlier checkpoints
// of the attempt wrote.
type table struct {
	source, stream string
	columns        []connector.Column // stored
	key            []string           // names
	mode           connector.Mode
	timeColumn     connector.Column // zero without one
	partition      string           // the column with the partition's name; empty without one
}

// Temporary tables of a writer's connection.
const (
	staging = "pg_temp.winch_staging"
	written = "pg_temp.winch_written"

	// columnAgain is null in a staged row whose key came for the first time, and
	// a number that grows with each row in others.
	columnAgain = "_winch_again"
)

func newTable(source string, stream connector.Stream) table {
	t := table{source: source, stream: stream.Name, key: stream.PrimaryKey, mode: stream.Mode, partition: stream.PartitionColumn}
	for _, c := range stream.Columns {
		if !c.Secret {
			t.columns = append(t.columns, c)
		}
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

func (t table) createStaging() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TEMPORARY TABLE %s (", strings.TrimPrefix(staging, "pg_temp."))
	for _, c := range t.columns {
		fmt.Fprintf(&b, "%s, ", t.columnType(c))
	}
	fmt.Fprintf(&b, "%s json, %s bytea, %s bigint) ON COMMIT PRESERVE ROWS",
		record.ColumnExtra, record.ColumnHash, columnAgain)
	return b.String()
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

func (t table) copyIn() string {
	return fmt.Sprintf("COPY %s (%s, %s) FROM STDIN (FORMAT binary)", staging, each(t.content(), "%[1]s", ", "), columnAgain)
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

// insert adds staged rows; $1 is the run, $2 when the attempt began. If the table
// may have rows, only those whose key is new.
func (t table) insert(empty bool) string {
	sql := fmt.Sprintf("INSERT INTO %s (%s, %s, %s) SELECT %s, $1::bigint, $2::timestamptz FROM %s s",
		t.name(), each(t.content(), "%[1]s", ", "), record.ColumnRun, record.ColumnSeenAt,
		each(t.content(), "s.%[1]s", ", "), staging)
	if !empty {
		sql += fmt.Sprintf(" WHERE NOT EXISTS (SELECT FROM %s t WHERE %s)", t.name(), t.same("t", "s"))
	}
	return sql
}

// update overwrites rows whose content differs; parameters as for insert.
func (t table) update() string {
	content := slices.DeleteFunc(t.content(), func(name string) bool { return slices.Contains(t.key, name) })
	return fmt.Sprintf("UPDATE %s t SET %s, %s = $1::bigint, %s = $2::timestamptz, %s = NULL FROM %s s WHERE %s AND %s",
		t.name(), each(content, "%[1]s = s.%[1]s", ", "), record.ColumnRun, record.ColumnSeenAt, record.ColumnDeleted,
		staging, t.same("t", "s"), t.differs())
}

// notReported is the condition that the attempt did not write the row's key.
func (t table) notReported(checkpoints bool) string {
	sql := fmt.Sprintf("NOT EXISTS (SELECT FROM %s s WHERE %s)", staging, t.same("s", "t"))
	if checkpoints {
		sql += fmt.Sprintf(" AND NOT EXISTS (SELECT FROM %s w WHERE %s)", written, t.same("w", "t"))
	}
	return sql
}

// markVanished marks what a snapshot no longer holds; $1 is the slice's partition,
// $2 when the attempt began.
func (t table) markVanished() string {
	return fmt.Sprintf("UPDATE %s t SET %[2]s = $2::timestamptz WHERE t.%[2]s IS NULL AND %[3]s AND %[4]s",
		t.name(), record.ColumnDeleted, t.inPartition(), t.notReported(false))
}

// deleteVanished deletes what a window no longer holds; $1 is the slice's
// partition, $2 and $3 are its bounds.
func (t table) deleteVanished(checkpoints bool) string {
	return fmt.Sprintf("DELETE FROM %s t WHERE t.%[2]s >= $2::%[3]s AND t.%[2]s < $3::%[3]s AND %[4]s AND %[5]s",
		t.name(), quote(t.timeColumn.Name), sqlTypes[t.timeColumn.Type], t.inPartition(), t.notReported(checkpoints))
}

// inPartition is the condition that a row belongs to the partition $1, which is
// empty for slices of streams without partitions.
func (t table) inPartition() string {
	if t.partition == "" {
		return "$1::text = ''"
	}
	return fmt.Sprintf("($1::text = '' OR t.%s::text = $1::text)", quote(t.partition))
}

func (t table) createWritten() string {
	return fmt.Sprintf("CREATE TEMPORARY TABLE %s ON COMMIT PRESERVE ROWS AS SELECT %s FROM %s WITH NO DATA",
		strings.TrimPrefix(written, "pg_temp."), t.keyList(), staging)
}

// remember keeps the staged keys for the rest of the attempt, each once: those
// that came for the first time, or those that may have come before.
func (t table) remember(again bool) string {
	sql := fmt.Sprintf("INSERT INTO %s SELECT %s FROM %s s WHERE s.%s ", written, each(t.key, "s.%[1]s", ", "), staging, columnAgain)
	if !again {
		return sql + "IS NULL"
	}
	return sql + fmt.Sprintf("IS NOT NULL AND NOT EXISTS (SELECT FROM %s w WHERE %s)", written, t.same("w", "s"))
}

// recount counts, of the staged rows whose key an earlier checkpoint of the
// attempt wrote, all, and those that differ from what the attempt itself wrote.
// Parameters as for insert; it comes before update.
func (t table) recount() string {
	return fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE %s AND t.%s = $1::bigint AND t.%s = $2::timestamptz)
FROM %s s JOIN %s w ON %s JOIN %s t ON %s WHERE s.%s IS NOT NULL`,
		t.differs(), record.ColumnRun, record.ColumnSeenAt,
		staging, written, t.same("w", "s"), t.name(), t.same("t", "s"), columnAgain)
}
