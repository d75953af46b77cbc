package wire

import (
	"context"
	"errors"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/winchdata/winch/internal/wire/connectorpb"
)

// ProtocolVersion is the version of connector.proto that this program speaks. It
// changes when an older peer would misread a newer one; added fields and calls
// do not change it.
const ProtocolVersion = 1

// ServeArgument is the hidden first argument with which the agent starts itself
// as one of its bundled connectors; the second is the connector's name.
const ServeArgument = "serve-connector"

// Service is the name under which go-plugin knows the connector service.
const Service = "connector"

// Handshake tells a connector that the agent has started it. It is no secret and
// guards against nothing but a person's mistake.
var Handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "WINCH_CONNECTOR",
	MagicCookieValue: "5c1d6f0e-3f53-4a0c-9d57-6f6f1f2a4b0e",
}

// ServerPlugins is what a connector process serves, by protocol version.
func ServerPlugins(server *Server) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {Service: &service{server: server}}}
}

// ClientPlugins is what the agent understands, by protocol version. Dispensing
// Service gives a *grpc.ClientConn.
func ClientPlugins() map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {Service: &service{}}}
}

// service is the connector service as go-plugin wants it.
type service struct {
	plugin.NetRPCUnsupportedPlugin
	server *Server
}

var _ plugin.GRPCPlugin = (*service)(nil)

func (s *service) GRPCServer(_ *plugin.GRPCBroker, registrar *grpc.Server) error {
	if s.server == nil {
		return errors.New("this side does not serve")
	}
	connectorpb.RegisterConnectorServiceServer(registrar, s.server)
	return nil
}

func (s *service) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
