package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
)

// A Server serves one connector.
//
// A panic in a connector is left to end the process. Recovering would save the
// other pulls of the process, but only from panics in the goroutine of the call,
// and what was being changed under a lock stays half changed: a token cache that
// no longer answers costs more than a restart. So there is one rule for all
// panics, and the agent makes a crash report of each, with the panic's own words.
type Server struct {
	connectorpb.UnimplementedConnectorServiceServer
	definition  connector.Definition
	setLogLevel func(slog.Level)

	startTracing func() SpanSource // nil: never

	mu      sync.Mutex
	spans   SpanSource // nil until the agent wants spans
	last    uint64
	sources map[uint64]*opened
	pulls   map[sliceKey]chan struct{} // closed when the pull has ended
}

type sliceKey struct {
	source            uint64
	stream, partition string
	since, until      time.Time
}

// opened is a source that was opened and not yet closed.
type opened struct {
	connector.Source
	tape    tape
	closing context.Context // of the source, not of a call: ends when it is to be closed
	close   context.CancelFunc
	calls   sync.WaitGroup
}

// NewServer serves def. setLogLevel is told the lowest level of log lines that
// the agent wants.
func NewServer(def connector.Definition, setLogLevel func(slog.Level)) *Server {
	return &Server{
		definition: def, setLogLevel: setLogLevel,
		sources: map[uint64]*opened{}, pulls: map[sliceKey]chan struct{}{},
	}
}

// Describe answers with the definition.
func (s *Server) Describe(_ context.Context, req *connectorpb.DescribeRequest) (*connectorpb.DescribeResponse, error) {
	var level slog.Level
	if level.UnmarshalText([]byte(req.GetLogLevel())) == nil {
		s.setLogLevel(level)
	}
	s.trace(req.GetSpans())
	d := s.definition
	return &connectorpb.DescribeResponse{
		Name: d.Name, Title: d.Title, DocsUrl: d.DocsURL, ConfigSchema: d.ConfigSchema, Streams: encodeStreams(d.Streams),
	}, nil
}

// Open opens a source.
func (s *Server) Open(ctx context.Context, req *connectorpb.OpenRequest) (*connectorpb.OpenResponse, error) {
	tape, err := s.load(req)
	if err != nil {
		return nil, encodeFault(ctx, err)
	}
	src, err := s.definition.Open(ctx, connector.NewConfig(req.GetConfig()))
	if err != nil {
		return nil, encodeFault(ctx, errors.Join(err, tape.close()))
	}
	closing, closeSource := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.sources[s.last] = &opened{Source: src, tape: tape, closing: closing, close: closeSource}
	return &connectorpb.OpenResponse{Source: s.last}, nil
}

// Close cancels what the source is doing, waits for it and closes the source.
func (s *Server) Close(ctx context.Context, req *connectorpb.CloseRequest) (*connectorpb.CloseResponse, error) {
	s.mu.Lock()
	src, ok := s.sources[req.GetSource()]
	delete(s.sources, req.GetSource())
	s.mu.Unlock()
	if ok {
		if err := src.end(); err != nil {
			return nil, encodeFault(ctx, err)
		}
	}
	return &connectorpb.CloseResponse{}, nil
}

// CloseSources closes the sources that are still open, for when no call will
// come any more.
func (s *Server) CloseSources() error {
	s.mu.Lock()
	sources := s.sources
	s.sources = map[uint64]*opened{}
	s.mu.Unlock()
	var errs []error
	for _, src := range sources {
		errs = append(errs, src.end())
	}
	return errors.Join(errs...)
}

func (o *opened) end() error {
	o.close()
	o.calls.Wait()
	var err error
	if closer, ok := o.Source.(io.Closer); ok {
		err = closer.Close()
	}
	return errors.Join(err, o.tape.close())
}

// call gives a call its source and a context that ends with the call or with the
// source, and whose usage is recorded. done must be called at the end.
func (s *Server) call(ctx context.Context, id uint64) (context.Context, *connector.UsageRecorder, *opened, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, ok := s.sources[id]
	if !ok {
		return nil, nil, nil, nil, encodeFault(ctx, fmt.Errorf("source %d is not open", id))
	}
	src.calls.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(src.closing, cancel)
	usage := &connector.UsageRecorder{}
	return src.tape.with(connector.WithUsage(ctx, usage)), usage, src, func() {
		stop()
		cancel()
		src.calls.Done()
	}, nil
}

// Streams lists the source's streams.
func (s *Server) Streams(ctx context.Context, req *connectorpb.StreamsRequest) (*connectorpb.StreamsResponse, error) {
	ctx, usage, src, done, err := s.call(ctx, req.GetSource())
	if err != nil {
		return nil, err
	}
	defer done()
	streams, err := src.Streams(ctx)
	if err != nil {
		src.tape.failed(ctx, connector.Request{}, err)
		return nil, encodeFault(ctx, err, encodeUsage(usage.Total()))
	}
	src.tape.streams(streams)
	return &connectorpb.StreamsResponse{Streams: encodeStreams(streams), Usage: encodeUsage(usage.Total())}, nil
}

// Pull reads one slice.
func (s *Server) Pull(req *connectorpb.PullRequest, rpc grpc.ServerStreamingServer[connectorpb.PullResponse]) error {
	ctx, usage, src, done, err := s.call(rpc.Context(), req.GetSource())
	if err != nil {
		return err
	}
	defer done()
	release, err := s.claim(ctx, req)
	if err != nil {
		return encodeFault(ctx, err)
	}
	defer release()

	out := newEmitter(rpc, req.GetStream(), usage)
	slice := decodePull(req)
	src.tape.pull(slice)
	err = src.Pull(ctx, slice, out)
	src.tape.failed(ctx, slice, err)
	return encodeFault(ctx, out.end(err))
}

// claim waits until the slice is not being pulled. An agent that has cancelled a
// pull may ask for the same slice again while the connector is still on its way
// out of the first, and a connector is promised that this does not happen.
func (s *Server) claim(ctx context.Context, req *connectorpb.PullRequest) (release func(), err error) {
	key := sliceKey{
		req.GetSource(), req.GetStream(), req.GetPartition(),
		decodeTime(req.GetWindowSince()), decodeTime(req.GetWindowUntil()),
	}
	for {
		s.mu.Lock()
		earlier, busy := s.pulls[key]
		if !busy {
			ended := make(chan struct{})
			s.pulls[key] = ended
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.pulls, key)
				close(ended)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-earlier:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Check asks the source's Checker.
func (s *Server) Check(ctx context.Context, req *connectorpb.CheckRequest) (*connectorpb.CheckResponse, error) {
	ctx, usage, src, done, err := s.call(ctx, req.GetSource())
	if err != nil {
		return nil, err
	}
	defer done()
	checker, ok := src.Source.(connector.Checker)
	if !ok {
		return nil, encodeFault(ctx, errors.ErrUnsupported)
	}
	findings, err := checker.Check(ctx)
	resp := &connectorpb.CheckResponse{Findings: encodeFindings(findings), Usage: encodeUsage(usage.Total())}
	if err != nil {
		return nil, encodeFault(ctx, err, encodeUsage(usage.Total()), resp)
	}
	return resp, nil
}

// Token asks the source's Tokener.
func (s *Server) Token(ctx context.Context, req *connectorpb.TokenRequest) (*connectorpb.TokenResponse, error) {
	ctx, usage, src, done, err := s.call(ctx, req.GetSource())
	if err != nil {
		return nil, err
	}
	defer done()
	tokener, ok := src.Source.(connector.Tokener)
	if !ok {
		return nil, encodeFault(ctx, errors.ErrUnsupported)
	}
	token, err := tokener.Token(ctx, req.GetPartition())
	if err != nil {
		return nil, encodeFault(ctx, err, encodeUsage(usage.Total()))
	}
	resp := encodeToken(token)
	resp.Usage = encodeUsage(usage.Total())
	return resp, nil
}

// Discover asks the source's Discoverer.
func (s *Server) Discover(ctx context.Context, req *connectorpb.DiscoverRequest) (*connectorpb.DiscoverResponse, error) {
	ctx, usage, src, done, err := s.call(ctx, req.GetSource())
	if err != nil {
		return nil, err
	}
	defer done()
	discoverer, ok := src.Source.(connector.Discoverer)
	if !ok {
		return nil, encodeFault(ctx, errors.ErrUnsupported)
	}
	settings, err := discoverer.Discover(ctx)
	if err != nil {
		return nil, encodeFault(ctx, err, encodeUsage(usage.Total()))
	}
	return &connectorpb.DiscoverResponse{Settings: settings, Usage: encodeUsage(usage.Total())}, nil
}

// Limits asks the source's Limiter.
func (s *Server) Limits(ctx context.Context, req *connectorpb.LimitsRequest) (*connectorpb.LimitsResponse, error) {
	ctx, _, src, done, err := s.call(ctx, req.GetSource())
	if err != nil {
		return nil, err
	}
	defer done()
	limiter, ok := src.Source.(connector.Limiter)
	if !ok {
		return nil, encodeFault(ctx, errors.ErrUnsupported)
	}
	limits, err := limiter.Limits(ctx)
	if err != nil {
		return nil, encodeFault(ctx, err)
	}
	return encodeLimits(limits), nil
}

// Partitions asks the source's Partitioner.
func (s *Server) Partitions(ctx context.Context, req *connectorpb.PartitionsRequest) (*connectorpb.PartitionsResponse, error) {
	ctx, usage, src, done, err := s.call(ctx, req.GetSource())
	if err != nil {
		return nil, err
	}
	defer done()
	partitioner, ok := src.Source.(connector.Partitioner)
	if !ok {
		return &connectorpb.PartitionsResponse{Unsupported: true}, nil
	}
	partitions, err := partitioner.Partitions(ctx, req.GetStream())
	if err != nil {
		src.tape.failed(ctx, connector.Request{Stream: req.GetStream()}, err)
		return nil, encodeFault(ctx, err, encodeUsage(usage.Total()))
	}
	return &connectorpb.PartitionsResponse{Partitions: partitions, Usage: encodeUsage(usage.Total())}, nil
}
