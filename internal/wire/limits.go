package wire

import (
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/stats"

	"github.com/winchdata/winch/internal/wire/connectorpb"
)

const (
	// maxRecord is the size of the largest record, in bytes.
	maxRecord = 8 << 20
	// maxCursor is the size of the largest cursor, in bytes.
	maxCursor = 64 << 10
	// maxMessage is the size of the largest message in either direction, in
	// bytes: a record of full size, a cursor, and room.
	maxMessage = 16 << 20
	// maxBatch is the size of a message of records, in bytes, unless one record
	// alone is larger; with its framing it then fits a buffer of the pool.
	maxBatch = bufferSize - 4096
	// pullWindow is how many bytes of one pull may be under way to the agent, and
	// so what a pull that the agent is slow to read costs it in memory, give or
	// take a batch. gRPC's own sizing would let it grow to 16 MiB.
	pullWindow = 4 << 20
	// callWindow is the same towards the connector, which is sent only small
	// requests and one configuration for each source.
	callWindow = 256 << 10
)

// DialOptions are the agent's side of a connection to a connector.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithStaticStreamWindowSize(pullWindow),
		// A pull that nobody reads does not hold up the others on its connection:
		// gRPC gives the connection's window back when bytes arrive, not when they
		// are read.
		grpc.WithStaticConnWindowSize(2 * pullWindow),
		grpc.WithReadBufferSize(0), // TLS has one; another would move each byte once more
		experimental.WithBufferPool(&buffers),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(tracing()...)),
	}
}

// ServerOptions are the connector's side.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.StaticStreamWindowSize(callWindow),
		grpc.StaticConnWindowSize(2 * callWindow),
		grpc.WriteBufferSize(128 << 10),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.StatsHandler(otelgrpc.NewServerHandler(tracing()...)),
	}
}

// tracing names the propagator, since the global one does nothing unless
// somebody sets it, which a connector's main does not. Left out of traces are
// go-plugin's own calls, the call that comes before tracing, and the one that
// carries spans itself.
func tracing() []otelgrpc.Option {
	prefix := "/" + connectorpb.ConnectorService_ServiceDesc.ServiceName + "/"
	return []otelgrpc.Option{
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(func(info *stats.RPCTagInfo) bool {
			switch info.FullMethodName {
			case connectorpb.ConnectorService_Describe_FullMethodName, connectorpb.ConnectorService_Spans_FullMethodName:
				return false
			}
			return strings.HasPrefix(info.FullMethodName, prefix)
		}),
	}
}
