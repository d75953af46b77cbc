// Package heap keeps the memory of a process low and even.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// leastPercent of what is in use is what a heap may grow by in any case: to
	// collect it costs as much as is in use.
	leastPercent = 25
	// smallest is what the runtime takes for in use at least: it collects no heap
	// below 4 MiB times the percentage.
	smallest = 4 << 20
)

// The room of an agent and of a connector. A pull leaves so little garbage behind that
// more would only make the processes larger.
const (
	Agent     = 8 << 20
	Connector = 3 << 20
)

// Keep lets the heap grow by room bytes before its garbage is collected. By default
// it doubles, which is little for a small heap, collected often, and much for one
// that is mostly buffers. GOGC, where set, stays in charge.
func Keep(room uint64) {
	if os.Getenv("GOGC") == "" {
		adjust(room)
	}
}

// adjust tells the runtime what the room is in percent of what is in use, and does so
// again after each collection.
func adjust(room uint64) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetGCPercent(max(leastPercent, int(100*room/max(live[0].Value.Uint64(), smallest))))
	garbage := new([64]byte) // of no smaller size: such share memory, and with it their end
	runtime.AddCleanup(garbage, adjust, room)
}
