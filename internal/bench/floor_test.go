package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The floor is what PostgreSQL costs when the rows are in memory already, encoded
// as binary COPY wants them: new rows go straight into the keyed table, others to
// a staging table and by the best merge that compares each column.

const (
	columns = "id, uuid, status, channel, customer, created_at, updated_at, amount, quantity, active, address, tags"
	table   = `(id bigint, uuid text, status text, channel text, customer text, created_at timestamptz, updated_at timestamptz,
		amount numeric, quantity bigint, active boolean, address jsonb, tags jsonb`

	updateChanged = `UPDATE floor.target t SET
		(uuid, status, channel, customer, created_at, updated_at, amount, quantity, active, address, tags) =
		(s.uuid, s.status, s.channel, s.customer, s.created_at, s.updated_at, s.amount, s.quantity, s.active, s.address, s.tags)
		FROM staging s WHERE s.id = t.id AND
		(t.uuid, t.status, t.channel, t.customer, t.created_at, t.updated_at, t.amount, t.quantity, t.active, t.address, t.tags)
		IS DISTINCT FROM
		(s.uuid, s.status, s.channel, s.customer, s.created_at, s.updated_at, s.amount, s.quantity, s.active, s.address, s.tags)`
	insertMissing = `INSERT INTO floor.target SELECT s.* FROM staging s WHERE NOT EXISTS (SELECT FROM floor.target t WHERE t.id = s.id)`
)

// export returns the rows that the pipeline landed, as binary COPY data.
func export(ctx context.Context, conn *pgx.Conn) ([]byte, error) {
	var out bytes.Buffer
	_, err := conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT "+columns+" FROM bench.records) TO STDOUT (FORMAT binary)")
	return out.Bytes(), err
}

// floor brings the rows into floor.target, which is empty when fresh, and returns
// how long that took.
func floor(ctx context.Context, conn *pgx.Conn, rows []byte, fresh bool) (seconds float64, err error) {
	if fresh {
		if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS floor CASCADE; CREATE SCHEMA floor; CREATE TABLE floor.target "+table+", PRIMARY KEY (id))"); err != nil {
			return 0, err
		}
	}
	started := time.Now()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(ctx)
	into, merge := "floor.target", []string(nil)
	if !fresh {
		into, merge = "staging", []string{"ANALYZE staging", updateChanged, insertMissing}
		if _, err := tx.Exec(ctx, "CREATE TEMP TABLE staging "+table+") ON COMMIT DROP"); err != nil {
			return 0, err
		}
	}
	if _, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(rows), "COPY "+into+" FROM STDIN (FORMAT binary)"); err != nil {
		return 0, err
	}
	for _, sql := range merge {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return 0, err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, err
	}
	return time.Since(started).Seconds(), nil
}

// A meter reads what the server has used.
type meter struct{ postmaster string }

func newMeter(ctx context.Context, conn *pgx.Conn) (*meter, error) {
	var dir string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&dir); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	pid, _, _ := strings.Cut(string(text), "\n")
	return &meter{pid}, nil
}

// cpu returns the CPU seconds that the server has used so far: of its processes
// that ended and of those that run.
func (m *meter) cpu() (float64, error) {
	self, children, err := processTimes(m.postmaster)
	if err != nil {
		return 0, err
	}
	total := self + children
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile and is counted with its parent
		}
		if fields := statFields(text); len(fields) > 1 && fields[1] == m.postmaster {
			own, _, err := processTimes(filepath.Base(filepath.Dir(path)))
			if err == nil {
				total += own
			}
		}
	}
	return total, nil
}

// statFields returns the fields of a /proc/PID/stat after the name, which may
// hold spaces: state, parent, ...
func statFields(text []byte) []string {
	i := bytes.LastIndexByte(text, ')')
	return strings.Fields(string(text[i+1:]))
}

// ticks is the unit of /proc/PID/stat on Linux, whatever the kernel's own.
const ticks = 100

func processTimes(pid string) (self, children float64, err error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, 0, err
	}
	fields := statFields(text)
	if len(fields) < 15 {
		return 0, 0, fmt.Errorf("/proc/%s/stat: %d fields", pid, len(fields))
	}
	var n [4]float64 // utime, stime, cutime, cstime
	for i := range n {
		if n[i], err = strconv.ParseFloat(fields[11+i], 64); err != nil {
			return 0, 0, err
		}
	}
	return (n[0] + n[1]) / ticks, (n[2] + n[3]) / ticks, nil
}

// wal returns how many bytes of WAL the server has written so far.
func wal(ctx context.Context, conn *pgx.Conn) (n int64, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").Scan(&n)
	return n, err
}
