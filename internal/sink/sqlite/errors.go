package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
)

// fault turns an error of the driver or the file system into a *sink.Error. A
// cancelled context is nobody's fault and stays what it is.
func fault(ctx context.Context, op string, err error) error {
	var known *sink.Error
	var vanished *ledger.Vanished
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case errors.As(err, &known):
		return err
	case errors.As(err, &vanished):
		return fmt.Errorf("%s: %w", op, err) // the vendor's fault, not the store's
	}
	class, hint := classify(err)
	return &sink.Error{Fault: class, Op: op, Err: err, Hint: hint}
}

const fullHint = "free space on the file's disk, and on that of SQLITE_TMPDIR or /var/tmp, where rows wait for their commit; nothing of this slice was kept"

// classify reads a result code, see https://sqlite.org/rescode.html.
func classify(err error) (f sink.Fault, hint string) {
	var store *driver.Error
	if !errors.As(err, &store) {
		return classifyFile(err)
	}
	switch store.Code() {
	case sqlite3.SQLITE_READONLY_DBMOVED:
		return sink.FaultOther, "the file was moved or deleted while it was open: start again"
	case sqlite3.SQLITE_IOERR_SHMSIZE:
		return sink.FaultFull, fullHint // for the file -shm, which begins with the first session
	case sqlite3.SQLITE_READONLY_DIRECTORY:
		return sink.FaultReadOnly, "make the directory writable too: SQLite keeps its log beside the file"
	}
	switch store.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return sink.FaultTransient, "another program writes the file: let it end its transaction"
	case sqlite3.SQLITE_FULL:
		return sink.FaultFull, fullHint
	case sqlite3.SQLITE_READONLY:
		return sink.FaultReadOnly, "make file and directory writable, or choose another sink.url"
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return sink.FaultDenied, "see that file and directory may be read and written by this user"
	case sqlite3.SQLITE_NOTADB:
		return sink.FaultOther, "the file is something else: choose another path in sink.url"
	case sqlite3.SQLITE_CORRUPT:
		return sink.FaultOther, "the file is damaged: restore a copy, or recover it with the .recover command of sqlite3"
	case sqlite3.SQLITE_IOERR:
		return sink.FaultOther, "the disk does not read or write: see the system's log"
	case sqlite3.SQLITE_ERROR:
		return sink.FaultSchema, "tables are missing or were changed by somebody else: run winch migrate"
	}
	return sink.FaultOther, "see https://sqlite.org/rescode.html for what the number means"
}

// classifyFile reads an error of the file system.
func classifyFile(err error) (f sink.Fault, hint string) {
	switch {
	case errors.Is(err, syscall.EROFS):
		return sink.FaultReadOnly, "the disk is mounted read-only: choose another sink.url"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return sink.FaultFull, "free space on the file's disk"
	case errors.Is(err, fs.ErrPermission):
		return sink.FaultDenied, "see that file and directory may be read and written by this user"
	}
	return sink.FaultOther, "see that the file's disk is well"
}
