package plugin

import (
	"os"
	"syscall"
)

// residentPeak is 0: only the ended process tells.
func residentPeak(int) int64 { return 0 }

// resident is 0: the system does not tell it of another process.
func resident(int) int64 { return 0 }

// accountedPeak is the peak of an ended process in bytes (getrusage(2)).
func accountedPeak(state *os.ProcessState) int64 {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss
	}
	return 0
}
