package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/winchdata/winch/internal/record"
)

// A table is filled for the first time without its indexes: to build one from all
// rows costs PostgreSQL a fraction of what it costs to add them one by one, and
// less WAL. All of it is in the transaction that holds the rows, so nobody sees the
// table without its key. Whoever reads it meanwhile waits, which is why this is
// not for a table that was only emptied.

// bare are the indexes that were dropped.
type bare struct {
	again []string // statements that make them before the commit
	later string   // one that makes the index on the time; see makeTimeIndex
}

// indexQuery returns the indexes of a table: whether a constraint owns it, the name
// by which to drop it, the statement that makes it again, whether it is the one on
// the time that Prepare makes, and whether that is all there is to know of it: it is
// not told to be elsewhere, to store in another way, or to serve as more, and no
// text that it takes for equal differs in its bytes. Of indexes that make rows
// unique only the key will do.
const indexQuery = `SELECT c.contype IS NOT NULL,
	CASE WHEN c.oid IS NULL THEN i.indexrelid::regclass::text ELSE quote_ident(c.conname) END,
	CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
		ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', i.indrelid::regclass, c.conname, pg_get_constraintdef(c.oid)) END,
	pg_get_indexdef(i.indexrelid) = format('CREATE INDEX %I ON %s USING brin (%I) WITH (autosummarize=''on'')', x.relname, i.indrelid::regclass, $4::text),
	i.indisvalid AND NOT i.indisclustered AND NOT i.indisreplident AND NOT i.indisexclusion
	AND x.reltablespace = 0 AND (c.oid IS NULL OR x.reloptions IS NULL) AND NOT COALESCE(c.condeferrable, false)
	AND obj_description(i.indexrelid, 'pg_class') IS NULL AND (c.oid IS NULL OR obj_description(c.oid, 'pg_constraint') IS NULL)
	AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = i.indrelid AND atthasdef AND attname = ANY ($5))
	AND (NOT i.indisunique OR i.indexprs IS NULL AND i.indnatts = $2 AND (SELECT bool_and(a.attname = ANY ($3) AND COALESCE(l.collisdeterministic, true))
		FROM unnest(i.indkey) k (n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
		LEFT JOIN pg_collation l ON l.oid = a.attcollation))
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
WHERE i.indrelid = $1::regclass AND (SELECT relkind = 'r' AND NOT relispartition FROM pg_class WHERE oid = i.indrelid)
ORDER BY NOT i.indisprimary, i.indexrelid`

// undress drops the indexes of the new table until dress, and makes the mark of the
// attempt the default of its columns, so that no row need carry it; if no other
// writer of this process and nobody else uses the table, and if the indexes can be
// made again as they are.
func (w *writer) undress(ctx context.Context) error {
	if !w.gate.claim() {
		return nil
	}
	dropped, err := w.dropIndexes(ctx)
	if w.tx.bare = dropped; len(dropped.again) == 0 {
		w.gate.yield()
	}
	return err
}

func (w *writer) dropIndexes(ctx context.Context) (dropped bare, err error) {
	rows, err := w.conn.Query(ctx, indexQuery, w.table.name(), len(w.table.key), w.table.key, w.table.timeColumn.Name,
		[]string{record.ColumnRun, record.ColumnSeenAt})
	if err != nil {
		return bare{}, err
	}
	var (
		constraint, onTime, plain bool
		name, create, drop        string
	)
	all := true
	_, err = pgx.ForEachRow(rows, []any{&constraint, &name, &create, &onTime, &plain}, func() error {
		all = all && plain
		if onTime && w.gate.mayLeaveIndex() {
			dropped.later = create
		} else {
			dropped.again = append(dropped.again, create)
		}
		if constraint {
			drop += fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s;", w.table.name(), name)
		} else {
			drop += fmt.Sprintf("DROP INDEX %s;", name)
		}
		return nil
	})
	if err != nil || !all || len(dropped.again) == 0 {
		return bare{}, err
	}
	_, err = w.conn.Exec(ctx, "SAVEPOINT bare; LOCK TABLE "+w.table.name()+" IN ACCESS EXCLUSIVE MODE NOWAIT;"+drop+
		w.table.markDefaults(w.attempt.Run, w.attempt.StartedAt)+";RELEASE SAVEPOINT bare")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && keepsIndexes(refused) {
		_, err = w.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT bare; RELEASE SAVEPOINT bare")
		return bare{}, err
	}
	if err != nil {
		return bare{}, err
	}
	return dropped, nil
}

// keepsIndexes reports whether a table is only not to be undressed: somebody reads
// it, depends on its key, or owns it.
func keepsIndexes(err *pgconn.PgError) bool {
	return slices.Contains([]string{
		"55P03", // lock_not_available
		"2BP01", // dependent_objects_still_exist
		"42501", // insufficient_privilege
		"0A000", // feature_not_supported, such as by an event trigger
		"P0001", // raise_exception, by one
	}, err.Code)
}

// dress makes the indexes of the table again, if they were dropped, but for the one
// that is left to later, and takes the mark from its columns.
func (w *writer) dress(ctx context.Context) error {
	if w.tx == nil || len(w.tx.bare.again) == 0 {
		return nil
	}
	_, err := w.conn.Exec(ctx, w.table.dropMarkDefaults()+";"+strings.Join(w.tx.bare.again, ";"))
	w.tx.bare.again = nil // the claim ends with the transaction, whose lock it stands for
	return err
}
