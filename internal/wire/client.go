package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
)

// A Client is a connector at the other end of a connection.
type Client struct {
	conn grpc.ClientConnInterface
	rpc  connectorpb.ConnectorServiceClient
	lost func(error) error
}

// NewClient uses conn, which was made with DialOptions. lost is given each error
// of the connection itself and returns what the caller is to see: what became of
// the connector at the other end.
func NewClient(conn grpc.ClientConnInterface, lost func(error) error) *Client {
	return &Client{conn: conn, rpc: connectorpb.NewConnectorServiceClient(conn), lost: lost}
}

// Describe returns the connector's definition without its Open, and tells the
// connector the lowest level of log lines that are wanted, and whether spans are.
func (c *Client) Describe(ctx context.Context, level slog.Level, spans bool) (connector.Definition, error) {
	resp, err := c.rpc.Describe(ctx, &connectorpb.DescribeRequest{LogLevel: strings.ToLower(level.String()), Spans: spans})
	if err != nil {
		return connector.Definition{}, c.fault(ctx, err).err
	}
	return connector.Definition{
		Name: resp.GetName(), Title: resp.GetTitle(), DocsURL: resp.GetDocsUrl(),
		ConfigSchema: resp.GetConfigSchema(), Streams: decodeStreams(resp.GetStreams()),
	}, nil
}

// Open opens a source, with the cassette that cassette.WithFiles put into ctx.
func (c *Client) Open(ctx context.Context, cfg connector.Config) (*Source, error) {
	files := cassette.FilesOf(ctx)
	resp, err := c.rpc.Open(ctx, &connectorpb.OpenRequest{
		Config: cfg.Reveal(), RecordTo: files.Record, ReplayFrom: files.Replay, KeepFailedTo: files.KeepFailed,
	})
	if err != nil {
		return nil, c.fault(ctx, err).err
	}
	return &Source{client: c, id: resp.GetSource()}, nil
}

// A Source is a source in a connector process. It has all the optional methods;
// they return errors.ErrUnsupported where the connector's source lacks them.
type Source struct {
	client *Client
	id     uint64
}

var (
	_ connector.Source      = (*Source)(nil)
	_ connector.Checker     = (*Source)(nil)
	_ connector.Tokener     = (*Source)(nil)
	_ connector.Partitioner = (*Source)(nil)
	_ connector.Limiter     = (*Source)(nil)
	_ io.Closer             = (*Source)(nil)
)

// Streams lists what can be pulled.
func (s *Source) Streams(ctx context.Context) ([]connector.Stream, error) {
	resp, err := s.client.rpc.Streams(ctx, &connectorpb.StreamsRequest{Source: s.id})
	if err != nil {
		return nil, s.client.fault(ctx, err).err
	}
	recordUsage(ctx, decodeUsage(resp.GetUsage()))
	return decodeStreams(resp.GetStreams()), nil
}

// Pull emits the records of one slice. The bytes given to out are used again
// when it has returned. An error from out ends the connector's pull and is
// returned as it is.
func (s *Source) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	rpc, err := s.client.pull(call, encodePull(s.id, req))
	if err != nil {
		return s.client.fault(ctx, err).err
	}
	var b batch
	defer b.release()
	for {
		if err := rpc.RecvMsg(&b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return s.client.fault(ctx, err).err
		}
		recordUsage(ctx, b.usage)
		if err := b.emit(out); errors.Is(err, errFraming) {
			return &connector.Error{Kind: connector.KindBadResponse, Op: req.Stream, Err: err, Hint: "this is a fault of the connector; report it to its author"}
		} else if err != nil {
			return err
		}
	}
}

// pull starts the call of the generated client, with the codec for batches.
func (c *Client) pull(ctx context.Context, req *connectorpb.PullRequest) (grpc.ClientStream, error) {
	rpc, err := c.conn.NewStream(ctx, &connectorpb.ConnectorService_ServiceDesc.Streams[0],
		connectorpb.ConnectorService_Pull_FullMethodName, grpc.ForceCodecV2(newCodec()))
	if err != nil {
		return nil, err
	}
	if err := rpc.SendMsg(req); err != nil && !errors.Is(err, io.EOF) { // at io.EOF the answer has the reason
		return nil, err
	}
	return rpc, rpc.CloseSend()
}

// Check asks the connector's Checker.
func (s *Source) Check(ctx context.Context) ([]connector.Finding, error) {
	resp, err := s.client.rpc.Check(ctx, &connectorpb.CheckRequest{Source: s.id})
	if err != nil {
		f := s.client.fault(ctx, err)
		return f.findings, f.err
	}
	recordUsage(ctx, decodeUsage(resp.GetUsage()))
	return decodeFindings(resp.GetFindings()), nil
}

// Token asks the connector's Tokener.
func (s *Source) Token(ctx context.Context, partition string) (connector.Token, error) {
	resp, err := s.client.rpc.Token(ctx, &connectorpb.TokenRequest{Source: s.id, Partition: partition})
	if err != nil {
		return connector.Token{}, s.client.fault(ctx, err).err
	}
	recordUsage(ctx, decodeUsage(resp.GetUsage()))
	return decodeToken(resp), nil
}

// Partitions asks the connector's Partitioner.
func (s *Source) Partitions(ctx context.Context, stream string) ([]string, error) {
	resp, err := s.client.rpc.Partitions(ctx, &connectorpb.PartitionsRequest{Source: s.id, Stream: stream})
	if err != nil {
		return nil, s.client.fault(ctx, err).err
	}
	recordUsage(ctx, decodeUsage(resp.GetUsage()))
	if resp.GetUnsupported() {
		return nil, fmt.Errorf("partitions: %w", errors.ErrUnsupported)
	}
	return resp.GetPartitions(), nil
}

// Limits asks the connector's Limiter.
func (s *Source) Limits(ctx context.Context) (connector.Limits, error) {
	resp, err := s.client.rpc.Limits(ctx, &connectorpb.LimitsRequest{Source: s.id})
	if err != nil {
		return connector.Limits{}, s.client.fault(ctx, err).err
	}
	return decodeLimits(resp), nil
}

// Discover asks the connector's Discoverer.
func (s *Source) Discover(ctx context.Context) ([]byte, error) {
	resp, err := s.client.rpc.Discover(ctx, &connectorpb.DiscoverRequest{Source: s.id})
	if err != nil {
		return nil, s.client.fault(ctx, err).err
	}
	recordUsage(ctx, decodeUsage(resp.GetUsage()))
	return resp.GetSettings(), nil
}

// Close cancels what the source is still doing and releases it.
func (s *Source) Close() error {
	ctx := context.Background()
	if _, err := s.client.rpc.Close(ctx, &connectorpb.CloseRequest{Source: s.id}); err != nil {
		return s.client.fault(ctx, err).err
	}
	return nil
}

// fault returns what an error of a call means to its caller.
func (c *Client) fault(ctx context.Context, err error) fault {
	st := status.Convert(err)
	f, ours := decodeFault(st)
	recordUsage(ctx, f.usage)
	switch {
	case ctx.Err() != nil:
		f.err = ctx.Err()
	case ours:
	case st.Code() == codes.Unimplemented:
		f.err = fmt.Errorf("the connector is too old for this: %w", errors.ErrUnsupported)
	case st.Code() == codes.ResourceExhausted:
		// gRPC itself refuses messages over the limit with this code.
		f.err = &connector.Error{Kind: connector.KindBadResponse, Op: "talk to the connector", Err: errors.New(st.Message())}
	default:
		f.err = c.lost(err)
	}
	return f
}

func recordUsage(ctx context.Context, u connector.Usage) {
	if u != (connector.Usage{}) {
		connector.RecordUsage(ctx, u)
	}
}
