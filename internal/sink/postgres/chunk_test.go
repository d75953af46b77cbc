package postgres

import (
	"strings"
	"testing"

	"github.com/winchdata/winch/internal/pgtest"
)

func TestChunksOfAllWritersStayWithinOneMemory(t *testing.T) {
	t.Parallel()
	var m memory
	m.left.Store(chunkMemory)
	chunks := make([]*chunk, 40)
	taken, whole := 0, 0
	for i := range chunks {
		chunks[i] = newChunk(&m, chunkSize, false)
		for chunks[i].grow() {
		}
		if taken += chunks[i].taken; chunks[i].full == chunkSize {
			whole++
		}
		if held := cap(chunks[i].data); held > chunks[i].full+chunks[i].full/8 {
			t.Errorf("a chunk of %d bytes holds %d", chunks[i].full, held)
		}
	}
	if taken > chunkMemory || whole < chunkMemory/chunkSize-1 || whole == len(chunks) {
		t.Errorf("%d bytes are taken of %d, %d of %d chunks are of full size", taken, chunkMemory, whole, len(chunks))
	}
	for _, c := range chunks {
		c.drop(true)
	}
	if left := m.left.Load(); left != chunkMemory {
		t.Errorf("%d bytes are left in the end, want %d", left, chunkMemory)
	}
}

// A merge of a thousand rows costs ten milliseconds by itself, so rows are gathered.
func TestManyRowsTakeFewStatements(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"log_statement": "all"}})
	s := prepared(t, server.Database(t))
	const rows, chunks = 60_000, 2 // of some 100 bytes
	for run, statements := range []map[string]int{
		{"COPY ": chunks},
		// What differs is staged and merged at once.
		{"COPY ": chunks, ": UPDATE ": 1, `: INSERT INTO "shop"."order" `: 1},
	} {
		before := len(server.Log())
		if counts := land(t, s, int64(run+1), 0, rows, []string{"before", "after"}[run]); counts.Rows != rows {
			t.Fatalf("%+v", counts)
		}
		log := server.Log()[before:]
		for statement, most := range statements {
			if n := strings.Count(log, statement); n > most || n == 0 && statement == "COPY " {
				t.Errorf("run %d: %d statements %s for %d rows, want at most %d", run+1, n, statement, rows, most)
			}
		}
	}
}
