package plugin

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// maxLine is the longest line of output that is read as one; what is beyond is
// dropped.
const maxLine = 64 << 10

// drainTime is how long output is read after the end of the process and of its
// group. Only a process that left the group can still hold the pipes then.
const drainTime = time.Second

// A child is a connector's process. It leads a process group of its own.
type child struct {
	cmd    *exec.Cmd
	logger *slog.Logger
	words  lastWords

	// handshake carries the one line of standard output that is for go-plugin.
	handshake       *io.PipeReader
	handshakeWriter *io.PipeWriter

	exited chan struct{} // closed when the process has ended and its output was read

	mu       sync.Mutex
	pid      int // 0 until it has started
	reaped   bool
	unwanted bool   // was killed, perhaps before it had started
	version  string // of the protocol, as announced
}

var _ runner.Runner = (*child)(nil)

func newChild(path string, args []string, logger *slog.Logger) *child {
	c := &child{cmd: exec.Command(path, args...), logger: logger, exited: make(chan struct{})} //nolint:noctx // its life is not that of a call
	c.handshake, c.handshakeWriter = io.Pipe()
	return c
}

// Start starts the process.
func (c *child) Start(context.Context) error {
	var ends []*os.File // those of the process, and ours should the start fail
	defer func() {
		for _, f := range ends {
			_ = f.Close()
		}
	}()
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			ends = append(ends, r, w)
		}
		return r, w, err
	}
	stdin, lifeline, err := pipe()
	if err != nil {
		return err
	}
	stdout, stdoutWriter, err := pipe()
	if err != nil {
		return err
	}
	stderr, stderrWriter, err := pipe()
	if err != nil {
		return err
	}
	// The files themselves, so that Wait waits for the process and not for the
	// end of its output, which its children may hold open.
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, stdoutWriter, stderrWriter
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		_ = c.handshakeWriter.Close()
		close(c.exited)
		return err
	}
	ends = []*os.File{stdin, stdoutWriter, stderrWriter}
	c.mu.Lock()
	c.pid = c.cmd.Process.Pid
	unwanted := c.unwanted
	c.mu.Unlock()
	if unwanted {
		c.kill()
	}
	go c.attend(lifeline, stdout, stderr) //nolint:contextcheck // until c.exited is closed; what it logs belongs to no call
	return nil
}

// attend reads the output of the process until its end, which it establishes.
func (c *child) attend(lifeline, stdout, stderr *os.File) {
	var output sync.WaitGroup
	output.Go(func() { c.readStdout(stdout) })
	output.Go(func() { c.readStderr(stderr) })
	_ = c.cmd.Wait() // how it ended is in ProcessState
	c.mu.Lock()
	c.reaped = true
	c.mu.Unlock()
	// What it started ends with it. Its number stays taken as long as the group
	// has a member; if it has none, there is nothing to hit.
	_ = syscall.Kill(-c.pid, syscall.SIGKILL)

	deadline := time.Now().Add(drainTime)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	output.Wait()
	_, _, _ = stdout.Close(), stderr.Close(), lifeline.Close()
	_ = c.handshakeWriter.Close()
	close(c.exited)
}

// announcement is go-plugin's line: core version, our version, network, address.
var announcement = regexp.MustCompile(`^\s*\d+\|(\d+)\|(unix|tcp)\|[^|]+\|`)

// readStdout passes the announcement on and logs the rest: a connector may print
// before it announces itself, and C code and children print past Go's os.Stdout.
func (c *child) readStdout(stdout io.Reader) {
	announced := false
	eachLine(stdout, func(line []byte) {
		match := announcement.FindSubmatch(line)
		if announced || match == nil {
			logText(c.logger, "stdout", line)
			return
		}
		announced = true
		c.mu.Lock()
		c.version = string(match[1])
		c.mu.Unlock()
		_, _ = c.handshakeWriter.Write(append(line, '\n')) // fails only when nobody waits for it any more
	})
}

func (c *child) readStderr(stderr io.Reader) {
	eachLine(stderr, func(line []byte) {
		entry, ok := parseLogLine(line)
		switch {
		case !ok:
			c.words.add(string(line))
			logText(c.logger, "stderr", line)
		default:
			if entry.Level >= slog.LevelError {
				c.words.add(entryText(entry))
			}
			logEntry(c.logger, entry)
		}
	})
}

// kill ends the process group at once, or as soon as it has started.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unwanted = true
	if c.pid != 0 && !c.reaped {
		_ = syscall.Kill(-c.pid, syscall.SIGKILL)
	}
}

func (c *child) started() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid != 0
}

func (c *child) protocolVersion() (version int, announced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	version, err := strconv.Atoi(c.version)
	return version, err == nil
}

// Wait waits for the end of the process.
func (c *child) Wait(context.Context) error {
	<-c.exited
	return nil
}

// Kill ends the process group at once.
func (c *child) Kill(context.Context) error {
	c.kill()
	return nil
}

// Stdout has the announcement alone.
func (c *child) Stdout() io.ReadCloser { return c.handshake }

// Stderr is empty: what the process writes is read here.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the path of the executable.
func (c *child) Name() string { return c.cmd.Path }

// ID is never empty, since go-plugin would then not clean up after a failed start.
func (c *child) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strconv.Itoa(c.pid)
}

// Diagnose has nothing to add.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost changes nothing: both see the same file system.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin changes nothing.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
