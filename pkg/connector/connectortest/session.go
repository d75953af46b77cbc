package connectortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/wire"
	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
)

// patience is how long the exam waits for a pull that should end by itself.
const patience = time.Minute

// promptness is how soon a cancelled pull must return (P4).
const promptness = 5 * time.Second

// A session is the connector with a gate of its own: in a process, or served from
// a Definition over the same protocol in memory.
type session struct {
	exam    *exam
	gate    *gate
	process *plugin.Process // nil for a Definition
	wire    interface {
		Open(ctx context.Context, cfg connector.Config) (connector.Source, error)
	}
	def    connector.Definition // as told over the wire
	source connector.Source     // over the wire
	stop   []func()             // from the last to the first
}

// connect starts the connector behind a new gate, without a source.
func (e *exam) connect(ctx context.Context) (*session, error) {
	g, err := newGate(e.candidate, e.secrets.add)
	if err != nil {
		return nil, err
	}
	s := &session{exam: e, gate: g}
	if e.candidate.Path != "" {
		err = s.launch(ctx)
	} else {
		err = s.serve(ctx)
	}
	if err != nil {
		e.told("starting", err)
		s.close()
		return nil, err
	}
	return s, nil
}

// open starts the connector and opens a source with the candidate's settings.
func (e *exam) open(ctx context.Context) (*session, error) {
	s, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.openSource(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) openSource(ctx context.Context) error {
	cfg, err := s.exam.candidate.config(s.gate, nil)
	if err != nil {
		return err
	}
	if s.source, err = s.wire.Open(ctx, cfg); err != nil {
		s.exam.told("Open", err)
		return fmt.Errorf("open a source: %w", err)
	}
	return nil
}

// direct opens a source that is not behind the wire, so that what the wire hides
// can be seen; nil for an executable.
func (s *session) direct(ctx context.Context) (connector.Source, error) {
	if s.process != nil {
		return nil, nil
	}
	cfg, err := s.exam.candidate.config(s.gate, nil)
	if err != nil {
		return nil, err
	}
	src, err := s.exam.candidate.Definition.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open a source: %w", err)
	}
	if closer, ok := src.(io.Closer); ok {
		s.stop = append(s.stop, func() { _ = closer.Close() }) // L1 looks at what Close leaves
	}
	return src, nil
}

// launch starts the executable in a process.
func (s *session) launch(ctx context.Context) error {
	name, err := s.exam.candidate.name()
	if err != nil {
		return err
	}
	launcher := &plugin.Launcher{
		Dirs:   []string{filepath.Dir(s.exam.candidate.Path)},
		Logger: slog.New(listener{s.exam}),
	}
	process, err := launcher.Launch(ctx, name)
	if err != nil {
		return err
	}
	s.process, s.wire, s.def = process, process, process.Definition()
	s.stop = append(s.stop, func() { _ = process.Close() })
	return nil
}

// wireClient gives wire.Client the shape of plugin.Process.
type wireClient struct{ *wire.Client }

func (c wireClient) Open(ctx context.Context, cfg connector.Config) (connector.Source, error) {
	src, err := c.Client.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return src, nil
}

// serve serves the definition in memory, with the options of both sides.
func (s *session) serve(ctx context.Context) error {
	pipe := bufconn.Listen(1 << 20)
	grpcServer := grpc.NewServer(wire.ServerOptions()...)
	server := wire.NewServer(s.exam.candidate.Definition, func(slog.Level) {})
	connectorpb.RegisterConnectorServiceServer(grpcServer, server)
	var served sync.WaitGroup
	served.Go(func() { _ = grpcServer.Serve(pipe) }) // it ends when it is stopped
	s.stop = append(s.stop, func() {
		grpcServer.Stop()
		served.Wait()
		_ = server.CloseSources() // what Close does is looked at by Source.Close
	})
	conn, err := grpc.NewClient("passthrough:///connector", append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))...)
	if err != nil {
		return err
	}
	s.stop = append(s.stop, func() { _ = conn.Close() })
	client := wire.NewClient(conn, func(err error) error { return fmt.Errorf("connection to the connector: %w", err) })
	if s.def, err = client.Describe(ctx, slog.LevelDebug, false); err != nil {
		return err
	}
	s.wire = wireClient{client}
	return nil
}

// close ends everything, the source first and the gate last.
func (s *session) close() {
	if s.source != nil {
		_ = s.closeSource()
	}
	for i := len(s.stop) - 1; i >= 0; i-- {
		s.stop[i]()
	}
	s.gate.close()
}

// closeSource closes the source, which waits for the pulls that are still
// running, and says whether that took longer than it may.
func (s *session) closeSource() error {
	src := s.source.(io.Closer) // that of the wire always is
	s.source = nil
	closed := make(chan error, 1)
	go func() { closed <- src.Close() }()
	timer := time.NewTimer(promptness + time.Second)
	defer timer.Stop()
	select {
	case err := <-closed:
		if err != nil {
			s.exam.told("Close", err)
		}
		return err
	case <-timer.C:
	}
	// A connector that does not let go of its pulls waits for the vendor. Without
	// the vendor it has nothing left to wait for.
	for _, stop := range s.gate.stop {
		stop()
	}
	s.endProcess()
	timer.Reset(promptness)
	select {
	case <-closed: //nolint:errcheck // that it took so long is the finding, whatever Close returned
	case <-timer.C: // a goroutine of the connector, and with it ours, is lost for good
	}
	return errHangs
}

func (s *session) endProcess() {
	if s.process != nil {
		_ = s.process.Close()
	}
}

var errHangs = fmt.Errorf("the source had not ended %s after it was closed", promptness+time.Second)

// The causes of a context that ended because the exam would not wait any longer.
var (
	errPatience = errors.New("the exam's patience ended")
	errFlood    = errors.New("the pull made requests without an end")
)

// pull pulls a slice over the wire and keeps what is emitted.
func (s *session) pull(ctx context.Context, req connector.Request, r *recording) error {
	return s.pullFrom(ctx, s.source, req, r)
}

func (s *session) pullFrom(ctx context.Context, src connector.Source, req connector.Request, r *recording) error {
	r.exam, r.stream = s.exam, req.Stream
	ctx, flood := context.WithCancelCause(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-s.gate.flooded:
			flood(errFlood)
		case <-ctx.Done():
		}
	})
	err := src.Pull(ctx, req, r)
	cause := context.Cause(ctx)
	cancel()
	watch.Wait()
	flood(nil)
	if err != nil {
		s.exam.told("Pull", err)
	}
	if errors.Is(cause, errPatience) || errors.Is(cause, errFlood) {
		return fmt.Errorf("%w: %s had not ended after %d requests", cause, where(req), len(s.gate.exchanges(false))+len(s.gate.exchanges(true)))
	}
	return err
}

// leash ends pulls that make many more requests than the slice takes.
func (s *session) leash(one *slice) { s.gate.allow(100 + 10*len(one.requests)) }

// gaveUp reports whether it was the exam that ended the pull.
func gaveUp(err error) bool { return errors.Is(err, errPatience) || errors.Is(err, errFlood) }

// where names a slice.
func where(req connector.Request) string {
	text := req.Stream
	if req.Partition != "" {
		text += " " + req.Partition
	}
	if !req.Window.IsZero() {
		text += " " + req.Window.String()
	}
	return text
}

// describe is an error as the exam shows it.
func describe(err error) string {
	if err == nil {
		return "no error"
	}
	return fmt.Sprintf("%q of kind %s", err.Error(), connector.KindOf(err))
}
