package serve

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// accepting tells of the connections that it accepts.
type accepting struct {
	net.Listener
	accepted chan net.Conn
}

func (l accepting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- conn
	}
	return conn, err
}

func TestConnectionsSendFromALargeBuffer(t *testing.T) {
	t.Parallel()
	listen := func(name string) accepting {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return accepting{l, make(chan net.Conn, 1)}
	}
	other := listen("other")
	dialed, err := net.Dial("unix", other.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	elsewhere, err := other.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	usual := sends(t, elsewhere)

	ours := listen("ours")
	server := grpc.NewServer(grpc.StatsHandler(connections{}))
	go server.Serve(ours) //nolint:errcheck // it ends with Stop
	defer server.Stop()
	client, err := grpc.NewClient("unix:"+ours.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// The answer, that there is no such service, comes after all that the server does
	// with a new connection.
	err = client.Invoke(ctx, "/none/None", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented {
		t.Fatal(err)
	}
	// The system doubles what is asked for, and has a limit of its own.
	if got := sends(t, <-ours.accepted); got <= usual {
		t.Errorf("the connection's buffer holds %d bytes, as any other", got)
	}
	if got := sends(t, elsewhere); got != usual {
		t.Errorf("another socket's buffer changed from %d to %d bytes", usual, got)
	}
}

// sends is how large the buffer is from which the connection sends.
func sends(t *testing.T, conn net.Conn) int {
	t.Helper()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var size int
	var failed error
	if err := raw.Control(func(fd uintptr) { size, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return size
}
