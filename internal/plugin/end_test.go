package plugin

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

func TestKilledConnectorLeavesACrashReport(t *testing.T) {
	t.Parallel()
	p := launch(t, "toy")
	src := open(t, p, toyConfigJSON{})
	err := src.Pull(t.Context(), connector.Request{Stream: "block"}, &events{onCursor: func() error { return syscall.Kill(p.PID(), syscall.SIGKILL) }})
	wantCrash(t, err, "toy", "signal: killed", "connector toy ended unexpectedly (signal: killed)")
	<-p.Done()
	_, err = src.Streams(t.Context())
	wantCrash(t, err, "toy", "signal: killed", "connector toy ended unexpectedly (signal: killed)")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if p.PeakMemory() == 0 {
		t.Error("no peak memory of a killed process")
	}
}

func TestPanicLeavesACrashReportWithItsWords(t *testing.T) {
	t.Parallel()
	for stream, first := range map[string]string{"panic": "panic: the toy broke", "goroutine_panic": "panic: the toy broke elsewhere"} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			src := open(t, launch(t, "toy"), toyConfigJSON{})
			err := src.Pull(t.Context(), connector.Request{Stream: stream}, &events{})
			words := wantCrash(t, err, "toy", "exit status 2", "connector toy ended unexpectedly (exit status 2): "+first)
			if n := len(words); n < 2 || n > maxWordLines || !strings.HasPrefix(words[0], first) {
				t.Errorf("last words %q", words)
			}
			if !strings.Contains(connector.HintOf(err), "fault of the connector") {
				t.Errorf("hint %q", connector.HintOf(err))
			}
		})
	}
}

func wantCrash(t *testing.T, err error, name, status, text string) (lastWords []string) {
	t.Helper()
	var crash *Crash
	if !errors.As(err, &crash) || connector.KindOf(err) != connector.KindUnavailable {
		t.Fatalf("%v, want a crash", err)
	}
	if crash.Connector != name || crash.Status != status || crash.PID == 0 || err.Error() != text || connector.Cancelled(err) {
		t.Errorf("%+v: %v", crash, err)
	}
	return crash.LastWords
}

func TestClosingEndsRunningPullsAndWhatTheConnectorStarted(t *testing.T) {
	t.Parallel()
	fifo := makeFifo(t)
	p := launch(t, "toy")
	src := open(t, p, toyConfigJSON{Fifo: fifo})
	pulled := make(chan error, 1)
	go func() { pulled <- src.Pull(t.Context(), connector.Request{Stream: "child"}, &events{}) }()
	held := readReady(t, fifo)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-pulled; err == nil || connector.Cancelled(err) || connector.KindOf(err) != connector.KindUnavailable {
		t.Errorf("the pull returned %v", err)
	}
	readToEnd(t, held)
	if err := p.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestStoppedConnectorIsKilledOnClose(t *testing.T) {
	t.Parallel()
	p := launch(t, "toy")
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	<-p.Done()
}

func TestSignalsToTheAgentsProcessesDoNotEndTheConnector(t *testing.T) {
	t.Parallel()
	p := launch(t, "toy")
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(p.PID(), s); err != nil {
			t.Fatal(err)
		}
	}
	out := &events{}
	if err := open(t, p, toyConfigJSON{Records: 1}).Pull(t.Context(), connector.Request{Stream: "records"}, out); err != nil || len(out.records) != 1 {
		t.Errorf("%d records, %v", len(out.records), err)
	}
}

func TestConnectorDiesWithAnAgentThatIsKilled(t *testing.T) {
	t.Parallel()
	fifo, sockets := makeFifo(t), shortTempDir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	middle := exec.Command(self, "middle", fifo)
	middle.Env = append(os.Environ(), "TMPDIR="+sockets)
	middle.Stderr = os.Stderr
	if err := middle.Start(); err != nil {
		t.Fatal(err)
	}
	held := readReady(t, fifo)
	if err := middle.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = middle.Wait()
	readToEnd(t, held) // by the connector and by the process that it started
	left, err := os.ReadDir(sockets)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind in the temporary directory: %v, %v", left, err)
	}
}

// shortTempDir is short enough for the path of a socket.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "w") //nolint:usetesting // the path of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func makeFifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readReady waits for the toy and its child to hold the fifo open.
func readReady(t *testing.T, path string) *bufio.Reader {
	t.Helper()
	fifo, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fifo.Close() })
	if err := fifo.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(fifo)
	if line, err := reader.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return reader
}

func readToEnd(t *testing.T, held *bufio.Reader) {
	t.Helper()
	if _, err := io.ReadAll(held); err != nil {
		t.Errorf("somebody still lives: %v", err)
	}
}
