package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// locks is the right to pull into a file. The first source that is locked takes
// it for this process, the last one returns it: a lock of the operating system on
// a file beside the database, which ends with the process however that ends. The
// file holds the process id of the last holder and is never removed, since
// another process may be about to lock it.
type locks struct {
	path string

	mu   sync.Mutex
	file *os.File // locked while not nil
	held map[string]*hold
}

// A hold is one source that is locked.
type hold struct {
	source, budget string
	stop           func() // ends what watches for a person's cancel, and waits for it
}

// Lock implements sink.Leases. One process pulls into the file, so another one is
// busy with all sources, and the right is not lost while the process lives.
func (s *Sink) Lock(ctx context.Context, c sink.Claim) (context.Context, func(), error) {
	source := c.Source
	h, err := s.locks.take(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	// I4: nobody else can give these runs an outcome.
	err = s.update(ctx, "record lost runs of "+source, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE "winch.runs" SET outcome = ?, ended_at = ? WHERE source = ? AND outcome = ''`,
			string(sink.Lost), timestamp(time.Now()), source)
		return err
	})
	if err != nil {
		s.locks.release(h)
		return nil, nil, err
	}
	held, lose := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { // awaited by stop
		defer close(watched)
		s.watchCancel(held, source, lose)
	}()
	s.locks.mu.Lock()
	h.stop = func() {
		lose(context.Canceled)
		<-watched
	}
	s.locks.mu.Unlock()
	return held, sync.OnceFunc(func() {
		h.stop()
		s.locks.release(h)
	}), nil
}

func (l *locks) take(ctx context.Context, c sink.Claim) (*hold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	source := c.Source
	for _, h := range l.held {
		if h.source == source || c.Budget != "" && h.budget == c.Budget {
			return nil, &sink.Busy{Source: source, Held: h.source, Holder: "pid " + strconv.Itoa(os.Getpid())}
		}
	}
	if l.file == nil {
		file, holder, err := l.open()
		if err != nil {
			return nil, fault(ctx, "lock "+l.path, err)
		}
		if file == nil {
			return nil, &sink.Busy{Source: source, Held: source, Holder: holder}
		}
		l.file = file
	}
	h := &hold{source: source, budget: c.Budget, stop: func() {}}
	l.held[source] = h
	return h, nil
}

// open locks the file, or says who holds it.
func (l *locks) open() (locked *os.File, holder string, err error) {
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, "", err
	}
	ok, err := tryLock(file)
	if err == nil && !ok {
		text, _ := io.ReadAll(io.LimitReader(file, 32)) // without it the holder is unknown
		if pid, numErr := strconv.Atoi(strings.TrimSpace(string(text))); numErr == nil {
			holder = fmt.Sprint("pid ", pid)
		}
	}
	if err != nil || !ok {
		return nil, holder, errors.Join(err, file.Close())
	}
	text := fmt.Sprintf("%d\n", os.Getpid())
	if _, err := file.WriteAt([]byte(text), 0); err != nil {
		return nil, "", errors.Join(err, file.Close())
	}
	if err := file.Truncate(int64(len(text))); err != nil {
		return nil, "", errors.Join(err, file.Close())
	}
	return file, "", nil
}

// holder returns the process that pulls into the file, and since when; 0 if none
// does.
func (l *locks) holder() (pid int, since time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, time.Time{}, nil
	}
	if err != nil {
		return 0, time.Time{}, err
	}
	if l.file != nil {
		return os.Getpid(), info.ModTime().UTC(), nil
	}
	file, err := os.Open(l.path)
	if err != nil {
		return 0, time.Time{}, err
	}
	defer func() { _ = file.Close() }() // read only
	free, err := tryLock(file)
	if err != nil || free {
		return 0, time.Time{}, err // closing ends the lock
	}
	text, err := io.ReadAll(io.LimitReader(file, 32))
	if err != nil {
		return 0, time.Time{}, err
	}
	pid, _ = strconv.Atoi(strings.TrimSpace(string(text))) // not written yet: about to pull
	return pid, info.ModTime().UTC(), nil
}

func (l *locks) release(h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[h.source] != h {
		return
	}
	delete(l.held, h.source)
	l.unlockIfUnused()
}

func (l *locks) releaseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		h.stop()
	}
	clear(l.held)
	l.unlockIfUnused()
}

func (l *locks) unlockIfUnused() {
	if l.file != nil && len(l.held) == 0 {
		_ = l.file.Close() // which ends the lock; nothing was written that matters
		l.file = nil
	}
}

// wait takes the file's lock for something short and not for a source.
func (l *locks) wait(ctx context.Context) (unlock func(), err error) {
	const op = "migrate"
	deadline := time.NewTimer(migratePatience)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		l.mu.Lock()
		if l.file != nil { // this process holds it already
			l.mu.Unlock()
			return func() {}, nil
		}
		file, holder, err := l.open()
		l.mu.Unlock()
		if err != nil {
			return nil, fault(ctx, op, err)
		}
		if file != nil {
			return func() { _ = file.Close() }, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fault(ctx, op, ctx.Err())
		case <-deadline.C:
			return nil, &sink.Error{
				Fault: sink.FaultTransient, Op: op, Err: fmt.Errorf("another agent pulls into the file (%s)", holder),
				Hint: "wait until it has ended; an older winch may still be running",
			}
		}
	}
}

// holds reports whether this process holds the source.
func (l *locks) holds(source string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[source] != nil
}
