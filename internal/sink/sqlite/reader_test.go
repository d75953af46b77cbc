package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

// envReader holds the path of a file that this process reads instead of testing.
const envReader = "WINCH_TEST_SQLITE_READER"

// becomeReader makes a process read a file, as any program would, until its
// standard input ends: again and again, and from one transaction that it keeps.
func becomeReader() {
	path := os.Getenv(envReader)
	if path == "" {
		return
	}
	looks, err := readOn(context.Background(), path)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("looks", looks)
	os.Exit(0)
}

const look = `SELECT count(*) || ' notes of runs ' || group_concat(DISTINCT _winch_run) || ', ledger of run ' ||
(SELECT run FROM "winch.slices" WHERE source = 'shop_se') FROM "shop_se.notes"`

func readOn(ctx context.Context, path string) (looks int, err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	long, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer long.Rollback() //nolint:errcheck // it only reads
	var first, text string
	if err := long.QueryRowContext(ctx, look).Scan(&first); err != nil {
		return 0, err
	}
	fmt.Println("ready")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	for done := false; !done; looks++ {
		select {
		case <-ended:
			done = true
		default:
		}
		if err := db.QueryRowContext(ctx, look).Scan(&text); err != nil {
			return looks, err
		}
		var run int
		if _, err := fmt.Sscanf(text, "%d notes of runs %d, ledger", new(int), &run); err != nil || text != whole(run) {
			return looks, fmt.Errorf("not a whole slice: %s", text)
		}
	}
	if err := long.QueryRowContext(ctx, look).Scan(&text); err != nil || text != first {
		return looks, fmt.Errorf("the transaction read %q, then %q: %w", first, text, err)
	}
	return looks, nil
}

const manyNotes = 2000

func whole(run int) string {
	return fmt.Sprintf("%d notes of runs %d, ledger of run %d", manyNotes, run, run)
}

// rewrite lands so many notes, all of which changed.
func rewrite(t *testing.T, s *sqlite.Sink, run int64) {
	t.Helper()
	w, err := s.Begin(t.Context(), sink.Attempt{
		Run: run, Stream: notes, StartedAt: time.Now(), Slice: ledger.Slice{Source: "shop_se", Stream: "notes"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range manyNotes {
		if err := w.Record(fmt.Appendf(nil, `{"id":%d,"note":"%0100d"}`, i, run)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), connector.Usage{}); err != nil {
		t.Fatalf("run %d beside a reader: %v", run, err)
	}
}

func logSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestAReaderInAnotherProcessSeesWholeSlicesAndHindersNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "winch.db")
	// Whoever had to wait for the reader would fail.
	var told bytes.Buffer
	s := ready(t, path, sqlite.Options{Patience: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&told, nil)), LongLog: 4 << 20})
	rewrite(t, s, 1)

	reader := osexec.CommandContext(t.Context(), os.Args[0])
	reader.Env = append(os.Environ(), envReader+"="+path)
	stdin, err := reader.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := reader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(stdout)
	if !said.Scan() || said.Text() != "ready" {
		t.Fatalf("the reader says %q", said.Text())
	}
	const runs = 20
	for run := int64(2); run <= runs; run++ {
		rewrite(t, s, run)
	}
	held := logSize(t, path)
	if strings.Count(told.String(), "its log grows") != 1 {
		t.Errorf("of a log of %d bytes is told: %s", held, told.String())
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if !said.Scan() || !strings.HasPrefix(said.Text(), "looks ") {
		t.Fatalf("the reader says %q", said.Text())
	}
	if err := reader.Wait(); err != nil {
		t.Fatal(err)
	}

	// The log grew while the transaction lasted, and is then used from its
	// beginning again.
	for run := int64(runs + 1); run <= 2*runs; run++ {
		rewrite(t, s, run)
	}
	if after := logSize(t, path); after > held+held/4 {
		t.Errorf("the log has %d bytes, had %d when the reader ended", after, held)
	}
	var busy, inLog, moved int
	if err := other(t, path).QueryRowContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &inLog, &moved); err != nil || busy != 0 || inLog != moved {
		t.Errorf("checkpoint: busy %d, %d of %d pages, %v", busy, moved, inLog, err)
	}
	if after := logSize(t, path); after != 0 {
		t.Errorf("the log has %d bytes after a checkpoint", after)
	}
}
