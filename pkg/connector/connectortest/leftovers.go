package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"
)

var leftoverChecks = []Check{
	{
		ID: "L1", Rule: "no goroutine is left when the source is closed, after a pull that ended and one that was cut off",
		Source: fromConnector, Means: "an agent that runs for months fills with them", run: checkGoroutines,
	},
	{
		ID: "L2", Rule: "no process is left when the source is closed, and the connector ends when it is told to",
		Source: fromConnector, Means: "processes pile up, with the credentials they were given", run: checkProcesses,
	},
}

// settle is how long the machine may take to end what has been told to end.
const settle = 3 * time.Second

// use pulls one slice whole and cuts another pull of it off.
func (s *session) use(ctx context.Context, one *slice) error {
	if err := s.pull(ctx, one.req, &recording{}); err != nil {
		return fmt.Errorf("%s: %w", where(one.req), err)
	}
	r := recording{at: func(int) error { return errCut }}
	if err := s.pull(ctx, one.req, &r); !errors.Is(err, errCut) {
		return fmt.Errorf("%s, cut off: %s", where(one.req), describe(err))
	}
	return nil
}

const goroutineLabel = "connectortest"

// checkGoroutines gives a label to the goroutine in which the connector is used;
// whatever is started there inherits it, and so is told from the goroutines of
// everybody else in this process.
func checkGoroutines(ctx context.Context, e *exam) (string, error) {
	if e.candidate.Path != "" {
		return "", lacks("the goroutines of an executable cannot be seen; a test with connectortest.Run sees those of a Definition")
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	label := fmt.Sprintf("exam-%p", e)
	pprof.Do(ctx, pprof.Labels(goroutineLabel, label), func(ctx context.Context) {
		var s *session
		if s, err = e.open(ctx); err != nil {
			return
		}
		defer s.close()
		if err = s.use(ctx, lead); err == nil {
			err = s.closeSource()
		}
	})
	if err != nil {
		return "", err
	}
	var left []string
	deadline := time.Now().Add(settle)
	for tick := 10 * time.Millisecond; ; tick *= 2 {
		if left, err = labelled(label); err != nil || len(left) == 0 {
			return "", err
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("%d sorts of goroutines are left:\n%s", len(left), strings.Join(left, "\n"))
		}
		select {
		case <-time.After(tick):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// labelled returns where the goroutines with a label are: the innermost functions
// of each, on a line.
func labelled(label string) ([]string, error) {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return nil, err
	}
	var left []string
	for block := range strings.SplitSeq(profile.String(), "\n\n") {
		if !strings.Contains(block, strconv.Quote(goroutineLabel)+":"+strconv.Quote(label)) {
			continue
		}
		var functions []string
		for line := range strings.Lines(block) {
			if fields := strings.Fields(line); len(fields) >= 4 && fields[0] == "#" && strings.HasPrefix(fields[1], "0x") {
				functions = append(functions, fields[2]+" "+filepath.Base(fields[3]))
			}
		}
		left = append(left, strings.Join(functions[:min(len(functions), 4)], " < "))
	}
	return left, nil
}

func checkProcesses(ctx context.Context, e *exam) (string, error) {
	if e.candidate.Path == "" {
		return "", lacks("a Definition is examined in this process; winch connector test examines an executable")
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	if err := s.use(ctx, lead); err != nil {
		return "", err
	}
	if err := s.closeSource(); err != nil {
		return "", err
	}
	deadline := time.Now().Add(settle)
	for tick := 10 * time.Millisecond; ; tick *= 2 {
		left, err := descendants(ctx, s.process.PID())
		if err != nil {
			return "", lacks("the processes of this machine cannot be listed: %v", err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("the source is closed and %d processes that it started are left", len(left))
		}
		select {
		case <-time.After(tick):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	start := time.Now()
	s.endProcess()
	if took := time.Since(start); took >= settle {
		return "", fmt.Errorf("the connector did not end when it was told to, and was killed after %s", took.Round(time.Millisecond))
	}
	return fmt.Sprintf("ended in %s", time.Since(start).Round(time.Millisecond)), nil
}

// descendants returns the processes that a process started, those that they
// started among them.
func descendants(ctx context.Context, pid int) ([]int, error) {
	parents, err := processes(ctx)
	if err != nil {
		return nil, err
	}
	found := []int{pid}
	for i := 0; i < len(found); i++ {
		for child, parent := range parents {
			if parent == found[i] && !slices.Contains(found, child) {
				found = append(found, child)
			}
		}
	}
	return found[1:], nil
}

// processes returns the parent of each process of this machine, from /proc where
// there is one.
func processes(ctx context.Context) (map[int]int, error) {
	parents := map[int]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		// The name, in parentheses, may hold anything; behind it are state and parent.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if err != nil || len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			parents[pid] = parent
		}
	}
	if len(parents) > 0 {
		return parents, nil
	}
	out, err := exec.CommandContext(ctx, "ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		var pid, parent int
		if _, err := fmt.Sscan(line, &pid, &parent); err == nil {
			parents[pid] = parent
		}
	}
	return parents, nil
}
