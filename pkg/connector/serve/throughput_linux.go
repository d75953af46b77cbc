package serve

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// preferThroughput tells the scheduler that the process does not mind to wait for
// its turn (sched(7), SCHED_BATCH). Else each page that arrives interrupts the agent
// or the store, which has more to do, and leaves it with cold caches. Threads that
// are made later take it over.
func preferThroughput() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err == nil {
			err = setBatch(id)
		}
		if err != nil {
			return fmt.Errorf("thread %s: %w", thread.Name(), err)
		}
	}
	return nil
}

// setBatch leaves alone what somebody has set otherwise, and the niceness.
func setBatch(thread int) error {
	attr, err := unix.SchedGetAttr(thread, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return err
	}
	attr.Policy = unix.SCHED_BATCH
	return unix.SchedSetAttr(thread, attr, 0)
}
