package wire

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/winchdata/winch/internal/wire/connectorpb"
)

// A SpanSource gives the spans of a connector to send, as messages TracesData,
// until done is closed and none are left. dropped is how many were dropped since
// the message before.
type SpanSource func(ctx context.Context, done <-chan struct{}, send func(traces []byte, dropped int64) error) error

// Trace makes the server hand over spans. start is called once, when the agent
// says that it traces; without that nothing of tracing is set up.
func (s *Server) Trace(start func() SpanSource) { s.startTracing = start }

// Spans hands over the connector's spans until the agent wants no more.
func (s *Server) Spans(rpc grpc.BidiStreamingServer[connectorpb.SpansRequest, connectorpb.SpansResponse]) error {
	s.mu.Lock()
	source := s.spans
	s.mu.Unlock()
	if source == nil {
		return status.Error(codes.FailedPrecondition, "the connector does not trace")
	}
	done := make(chan struct{})
	go func() { // ends with the call, at the latest
		defer close(done)
		for {
			if _, err := rpc.Recv(); err != nil {
				return
			}
		}
	}()
	return source(rpc.Context(), done, func(traces []byte, dropped int64) error {
		return rpc.Send(&connectorpb.SpansResponse{Traces: traces, Dropped: dropped})
	})
}

// trace starts tracing if the agent wants it.
func (s *Server) trace(wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wanted && s.spans == nil && s.startTracing != nil {
		s.spans = s.startTracing()
	}
}

// Spans receives the connector's spans, with what was dropped, until ctx ends or
// the connector has sent its last, which finish asks it to do. A connector that
// is too old to have spans has none.
func (c *Client) Spans(ctx context.Context, receive func(traces []byte, dropped int64)) (finish func(), wait func() error, err error) {
	rpc, err := c.rpc.Spans(ctx)
	if err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { // awaited by wait
		for {
			m, err := rpc.Recv()
			switch {
			case errors.Is(err, io.EOF), status.Code(err) == codes.Unimplemented:
				ended <- nil
				return
			case err != nil:
				ended <- fmt.Errorf("receive spans: %w", err)
				return
			}
			receive(m.GetTraces(), m.GetDropped())
		}
	}()
	return func() { _ = rpc.CloseSend() }, func() error { return <-ended }, nil // CloseSend's error is that of Recv
}
