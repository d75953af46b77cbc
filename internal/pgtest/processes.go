package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// children returns the process ids of the children of a process.
func children(parent int) ([]int, error) {
	out, err := processTable()
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range strings.Lines(out) {
		var pid, ppid int
		if n, _ := fmt.Sscan(line, &pid, &ppid); n == 2 && ppid == parent {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// processTable returns a line "pid ppid" for each process: from /proc where there
// is one, since small images lack ps.
func processTable() (string, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		out, err := exec.CommandContext(context.Background(), "ps", "-A", "-o", "pid=,ppid=").Output()
		return string(out), err
	}
	var table strings.Builder
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid ...; the name may contain anything, so look from
		// the last parenthesis: proc(5).
		after := b[bytes.LastIndexByte(b, ')')+1:]
		if fields := bytes.Fields(after); len(fields) > 1 {
			fmt.Fprintf(&table, "%s %s\n", filepath.Base(filepath.Dir(file)), fields[1])
		}
	}
	return table.String(), nil
}
