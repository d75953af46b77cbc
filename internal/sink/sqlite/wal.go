package sqlite

import (
	"context"
	"log/slog"
	"os"
	"sync"
)

// longLog is the size in bytes of the write-ahead log from which on somebody is
// told. It is emptied into the file as it is written, unless somebody reads from
// what was there before.
const longLog = 1 << 30

// walWatch tells, once, of a log that grows because of a reader.
type walWatch struct {
	logger *slog.Logger // nil: nobody is told
	long   int64
	once   sync.Once
}

// look is called after a commit to the file.
func (w *walWatch) look(ctx context.Context, path string) {
	if w.logger == nil {
		return
	}
	info, err := os.Stat(path + "-wal")
	if err != nil || info.Size() < w.long {
		return // there need not be one
	}
	w.once.Do(func() {
		w.logger.WarnContext(ctx, "a program reads the store in one transaction that does not end, so its log grows",
			"file", path+"-wal", "bytes", info.Size(), "hint", "end the program, or let it begin a new transaction")
	})
}
