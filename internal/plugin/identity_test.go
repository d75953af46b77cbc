package plugin

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/winchdata/winch/internal/wire"
)

// The connector talks to the agent that started it and to nobody else, and the
// agent to that connector.
func TestConnectionIsMutuallyAuthenticated(t *testing.T) {
	t.Parallel()
	p, other := launch(t, "toy"), launch(t, "toy")
	ours := p.client.ReattachConfig().Addr.String()
	dial := func(address string, config *tls.Config) error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		raw, err := new(net.Dialer).DialContext(ctx, "unix", address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		deadline, _ := ctx.Deadline()
		if err := raw.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		config = config.Clone()
		config.NextProtos = []string{"h2"}
		conn := tls.Client(raw, config)
		if err := conn.Handshake(); err != nil {
			return err
		}
		// In TLS 1.3 a refused certificate shows at the first read: a server of
		// HTTP/2 begins with its settings.
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	stranger, _, err := wire.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	trusting := func(config *tls.Config) *tls.Config {
		config = config.Clone()
		config.RootCAs = p.tls.RootCAs
		return config
	}
	for name, test := range map[string]struct {
		address string
		config  *tls.Config
		ok      bool
	}{
		"the agent":                              {ours, p.tls, true},
		"a stranger":                             {ours, trusting(stranger), false},
		"the agent's connection to another":      {ours, trusting(other.tls), false},
		"nobody":                                 {ours, trusting(&tls.Config{ServerName: p.tls.ServerName, MinVersion: tls.VersionTLS12}), false},
		"the agent, and a connector of another":  {other.client.ReattachConfig().Addr.String(), p.tls, false},
		"an agent before the connector answered": {ours, stranger, false},
	} {
		if err := dial(test.address, test.config); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The exchange of certificates is that of go-plugin's AutoMTLS: each side also works
// with a peer that does no more than that.
func TestIdentitiesAreThoseOfAutoMTLS(t *testing.T) {
	t.Parallel()
	launch(t, "auto_mtls")

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	served := newChild(self, []string{wire.ServeArgument, "toy"}, slog.New(slog.DiscardHandler))
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: wire.Handshake, VersionedPlugins: wire.ClientPlugins(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true, SkipHostEnv: true,
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			served.cmd.Env = spec.Env
			return served, nil
		},
		Logger: hclog.NewNullLogger(), GRPCDialOptions: wire.DialOptions(),
	})
	defer func() {
		client.Kill()
		<-served.exited
	}()
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.Ping(); err != nil {
		t.Fatal(err)
	}
}
