package plugin

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// residentPeak is the peak of a running process in bytes, 0 if it cannot be
// told. What the system accounts to a process when it ends includes the peak of
// the process that it was started by, whose memory it shares for a moment.
func residentPeak(pid int) int64 { return statusBytes(pid, "VmHWM:") }

// resident is what a running process has in bytes, 0 if it cannot be told.
func resident(pid int) int64 { return statusBytes(pid, "VmRSS:") }

// statusBytes reads a line of /proc/PID/status (proc_pid_status(5)), in KiB there.
func statusBytes(pid int, key string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == key {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// accountedPeak is the peak as the system accounts it to an ended process: at
// least its own. The unit is KiB (getrusage(2)).
func accountedPeak(state *os.ProcessState) int64 {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}
