package heap

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

func read(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// awaitGoal collects until the size at which the heap is collected next lies within
// bounds, which it does some time after a collection.
func awaitGoal(t *testing.T, least, most uint64) {
	t.Helper()
	for range 1000 {
		runtime.GC()
		runtime.Gosched()
		if goal := read("/gc/heap/goal:bytes"); least <= goal && goal <= most {
			return
		}
	}
	t.Fatalf("the heap is collected at %d bytes, want %d to %d", read("/gc/heap/goal:bytes"), least, most)
}

var held []byte // reachable for the compiler

func TestTheHeapGrowsByItsRoomHoweverLargeItIs(t *testing.T) {
	const room, large, huge = 8 << 20, 32 << 20, 128 << 20
	t.Setenv("GOGC", "100")
	before := read("/gc/gogc:percent")
	Keep(room)
	if percent := read("/gc/gogc:percent"); percent != before {
		t.Fatalf("GOGC is set, and the heap may grow by %d %% instead of %d", percent, before)
	}

	t.Setenv("GOGC", "")
	Keep(room)
	awaitGoal(t, room, 2*room)
	held = make([]byte, large)
	awaitGoal(t, large+room/2, large+2*room)
	held = make([]byte, huge)
	awaitGoal(t, huge*(100+leastPercent)/100, huge*(110+leastPercent)/100)
	held = nil
	awaitGoal(t, room, 2*room)
}
