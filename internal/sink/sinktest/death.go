package sinktest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// envChild tells a process of the test binary that it is to act as an agent. The
// address of the store comes on standard input, since it may hold a password; the
// process ends when that input ends.
const envChild = "WINCH_SINKTEST_CHILD"

// BecomeChild returns at once in the process that go test started. In a process
// that the suite started it acts as an agent that is to be killed, and does not
// return.
func BecomeChild(open func(ctx context.Context, address string) (sink.Sink, error)) {
	do := os.Getenv(envChild)
	if do == "" {
		return
	}
	in := bufio.NewReader(os.Stdin)
	address, err := in.ReadString('\n')
	if err == nil {
		go func() {
			_, _ = io.Copy(io.Discard, in)
			os.Exit(0)
		}()
		err = pullForever(do, strings.TrimSuffix(address, "\n"), open)
	}
	fmt.Println("error", err)
	os.Exit(1)
}

// restated is how many windows the child reads again and again.
const restated = 4

// pullForever holds the source and, if it is to write, replaces windows with rows
// that carry the number of the run. It says what it does on standard output.
func pullForever(do, address string, open func(ctx context.Context, address string) (sink.Sink, error)) error {
	ctx := context.Background()
	s, err := open(ctx, address)
	if err != nil {
		return err
	}
	if _, _, err := s.Lock(ctx, sink.Claim{Source: source}); err != nil {
		return err
	}
	run, err := s.StartRun(ctx, sink.Run{Source: source, Connector: "shop", Trigger: "pull", StartedAt: begun(1)})
	if err != nil {
		return err
	}
	fmt.Println("locked", run)
	if do == "lock" {
		select {}
	}
	for i := 0; ; i++ {
		window := day(i % restated)
		w, err := s.Begin(ctx, attempt(run, calls, window))
		if err != nil {
			return err
		}
		fmt.Println("write", i)
		for n := range 300 + int(run%5)*50 {
			if err := w.Record([]byte(call(fmt.Sprint(i%restated, "-", n), window.Since, int(run)))); err != nil {
				return err
			}
		}
		fmt.Println("commit", i)
		if _, err := w.Commit(ctx, connector.Usage{}); err != nil {
			return err
		}
		fmt.Println("committed", i)
		if err := w.Close(); err != nil {
			return err
		}
	}
}

// child is a process that acts as an agent.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner
	run   int64
}

// spawn starts a child and returns when it holds the source.
func (s *store) spawn(t *testing.T, do string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.Command(self)}
	c.Env = append(os.Environ(), envChild+"="+do)
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kill() })
	c.lines = bufio.NewScanner(stdout)
	if _, err := fmt.Fprintln(stdin, s.address); err != nil {
		t.Fatal(err)
	}
	said := c.next(t)
	id, ok := strings.CutPrefix(said, "locked ")
	if c.run, err = strconv.ParseInt(id, 10, 64); !ok || err != nil {
		t.Fatalf("child: %s", said)
	}
	return c
}

// next waits for what the child says next.
func (c *child) next(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatal("child ended:", c.lines.Err())
	}
	return c.lines.Text()
}

// kill ends the child at once, as kill -9 does.
func (c *child) kill() {
	_ = c.Process.Kill()
	_ = c.Wait()
}

// takeOver locks the source as soon as the store has noticed that its holder is
// gone.
func (s *store) takeOver(t *testing.T) (release func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, release, err := s.Lock(ctx, sink.Claim{Source: source})
		var busy *sink.Busy
		if errors.As(err, &busy) {
			runtime.Gosched()
			continue
		}
		if err != nil {
			t.Fatal("take over:", err)
		}
		return release
	}
}

var deathCases = map[string]func(*testing.T, Harness){
	// I3, I4
	"the right ends with the process and its run is lost": func(t *testing.T, h Harness) {
		s := open(t, h)
		c := s.spawn(t, "lock")
		wantBusy(t, s.Sink, source)
		if r, _ := s.run(t, c.run); r.Outcome != "" {
			t.Errorf("outcome %q of a run that goes on", r.Outcome)
		}
		c.kill()
		s.takeOver(t)()
		if r, _ := s.run(t, c.run); r.Outcome != sink.Lost || r.EndedAt.IsZero() {
			t.Errorf("want it lost, got %+v", r.RunEnd)
		}
	},

	// I1, I7
	"killed at any moment, each slice is whole or absent": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		var committed int
		for range kills {
			c := s.spawn(t, "write")
			for range 1 + rand.IntN(3*restated+2) {
				c.next(t)
			}
			for range rand.IntN(2000) { // somewhere in what the child does next
				runtime.Gosched()
			}
			c.kill()
			release := s.takeOver(t)
			committed += s.wantWhole(t)
			release()
			if r, _ := s.run(t, c.run); r.Outcome != sink.Lost {
				t.Errorf("run %d: outcome %q", c.run, r.Outcome)
			}
		}
		if committed == 0 {
			t.Error("no agent came as far as a commit")
		}
	},
}

// wantWhole checks that every window holds exactly what the ledger says its last
// run committed, and returns how many windows are held.
func (s *store) wantWhole(t *testing.T) int {
	t.Helper()
	rows := map[string]map[string]int{} // run and content of rows by window
	for _, row := range s.Rows(t, s.address, source, "calls", "at", record.ColumnRun, "seconds") {
		if rows[row[0]] == nil {
			rows[row[0]] = map[string]int{}
		}
		rows[row[0]][row[1]+" "+row[2]]++
	}
	entries := s.entries(t, source)
	for _, e := range entries {
		window := stamp(e.Slice.Window.Since)
		run := fmt.Sprintf("%d %d", e.Run, e.Run)
		if got := rows[window]; len(got) != 1 || int64(got[run]) != e.Counts.Rows || e.Counts.Rows == 0 {
			t.Errorf("window %s: ledger says %d rows of run %d, at rest are %v", window, e.Counts.Rows, e.Run, got)
		}
		delete(rows, window)
	}
	if len(rows) != 0 {
		t.Errorf("rows that the ledger does not know: %v", rows)
	}
	return len(entries)
}
