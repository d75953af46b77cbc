package serve

import (
	"fmt"
	"net"
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

// sendBuffer is what the system may hold of what was sent and not yet received. Its
// usual 208 KiB are a fifth of a message: the connector would wake for each part.
const sendBuffer = 1 << 20

// widen gives the sockets of a local address, which go-plugin opens and does not
// hand out, a larger buffer.
func widen(local net.Addr) error {
	if local == nil || local.Network() != "unix" {
		return nil // TCP finds its own size
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, file := range files {
		fd, err := strconv.Atoi(file.Name())
		if err != nil {
			return err
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			continue // no socket, or closed since
		}
		if socket, ok := name.(*unix.SockaddrUnix); !ok || socket.Name != local.String() {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
			return err
		}
	}
	return nil
}
