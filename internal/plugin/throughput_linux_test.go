package plugin

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestConnectorPrefersThroughput(t *testing.T) {
	t.Parallel()
	p := launch(t, "toy")
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(p.PID()) + "/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		attr, err := unix.SchedGetAttr(id, 0)
		if err != nil {
			continue // it has ended
		}
		if attr.Policy != unix.SCHED_BATCH {
			t.Errorf("thread %d of %d has the policy %d", id, len(threads), attr.Policy)
		}
	}
}
