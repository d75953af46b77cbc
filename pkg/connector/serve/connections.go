package serve

import (
	"context"
	"log/slog"

	"google.golang.org/grpc/stats"
)

// connections is told of each connection that an agent opens.
type connections struct{}

var _ stats.Handler = connections{}

func (connections) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	if err := widen(info.LocalAddr); err != nil {
		slog.Debug("the system gives the connector no larger buffer to send from", "error", err)
	}
	return ctx
}

func (connections) HandleConn(context.Context, stats.ConnStats) {}

func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (connections) HandleRPC(context.Context, stats.RPCStats) {}
