// Package plugin starts connectors as processes of their own and answers for
// them: what is started, with what environment, what it writes, how it ends.
//
// The package's Unix parts are process groups and pipes; there is no Windows
// version.
package plugin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/winchdata/winch/internal/wire"
	"github.com/winchdata/winch/pkg/connector"
)

// DefaultStartTimeout is how long a connector may take to answer its first call.
const DefaultStartTimeout = 15 * time.Second

// A Launcher starts connectors. It may be used from several goroutines.
type Launcher struct {
	// Bundled are the names of the connectors that this very program can serve,
	// by serve.Bundled. They go before those in Dirs.
	Bundled []string
	// Dirs are the directories that hold other connectors, executables named
	// winch-connector-NAME; the first that has one counts. PATH never does.
	Dirs []string
	// Checksums are the SHA-256 checksums of executables in Dirs, by the
	// connector's name. A connector with a checksum starts only if it has it.
	Checksums map[string][sha256.Size]byte
	// StartTimeout is how long a connector may take to answer its first call;
	// zero means DefaultStartTimeout.
	StartTimeout time.Duration
	// Logger gets the log of the connectors; nil means slog's default.
	Logger *slog.Logger
	// Spans gets the spans of the connector with this name, as a message
	// TracesData of OTLP, and how many it had to drop; nil if nobody traces.
	Spans func(connector string, traces []byte, dropped int64)
}

// passedEnv are the variables of the agent's environment that a connector gets.
// The environment of an agent holds secrets, so nothing passes unless it has a
// reason:
//
//   - SSL_CERT_FILE and SSL_CERT_DIR say which certificates to trust, and
//     without them a connector in a minimal container reaches no vendor;
//   - TZ keeps times in its messages in the zone of those of the agent;
//   - TMPDIR is where it may write, which may not be /tmp.
//
// Proxy variables do not pass: their URLs hold passwords. A source names its proxy
// in its settings.
var passedEnv = []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "TZ", "TMPDIR"}

var errStartTimeout = errors.New("start time-out")

// Launch starts the connector with the given name and returns when it has
// described itself. ctx and the launcher's StartTimeout bound the start, not the
// life of the process. The caller must close the process.
//
// Its errors are of KindConfig when something has to be installed or repaired,
// of KindUnavailable when the connector crashed or did not answer.
func (l *Launcher) Launch(ctx context.Context, name string) (*Process, error) {
	path, args, err := l.find(name)
	if err != nil {
		return nil, err
	}
	logger := l.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger = slog.New(inTrace{logger.Handler(), trace.SpanContextFromContext(ctx)}).With("connector", name)

	timeout := l.StartTimeout
	if timeout == 0 {
		timeout = DefaultStartTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errStartTimeout)
	defer cancel()

	security, certificate, err := wire.ClientTLS()
	if err != nil {
		return nil, fmt.Errorf("launch connector %s: make a key for its connection: %w", name, err)
	}
	p := &Process{name: name, tls: security, child: newChild(path, args, logger)}
	p.stdout = &lineWriter{line: func(line []byte) { logText(logger, "stdout", line) }}
	p.stderr = &lineWriter{line: func(line []byte) { logText(logger, "stderr", line) }}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.ClientPlugins(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		TLSConfig:        security,
		SkipHostEnv:      true,
		// A runner of our own, since go-plugin's gives the connector the agent's
		// standard input, starts no process group, and would have go-plugin parse
		// the log, which panics on a line such as {"@message": 1}.
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			p.child.cmd.Env = append(spec.Env, wire.ClientCertificateEnv+"="+certificate)
			for _, key := range passedEnv {
				if value, ok := os.LookupEnv(key); ok {
					p.child.cmd.Env = append(p.child.cmd.Env, key+"="+value)
				}
			}
			return p.child, nil
		},
		StartTimeout:    timeout,
		SyncStdout:      p.stdout,
		SyncStderr:      p.stderr,
		Logger:          newMechanismLogger(logger),
		GRPCDialOptions: wire.DialOptions(),
	})

	// go-plugin's start knows no context, but ends when the process does.
	stop := context.AfterFunc(ctx, p.child.kill)
	err = p.start(ctx, lowestLevel(ctx, logger), l.Spans)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		err = p.startError(ctx, timeout, err)
		_ = p.Close() // the start's error says more
		return nil, err
	}
	return p, nil
}

func (p *Process) start(ctx context.Context, level slog.Level, spans func(string, []byte, int64)) error {
	protocol, err := p.client.Client()
	if err != nil {
		return err
	}
	conn, err := protocol.Dispense(wire.Service)
	if err != nil {
		return err
	}
	p.wire = wire.NewClient(conn.(*grpc.ClientConn), p.lost)
	p.definition, err = p.wire.Describe(ctx, level, spans != nil)
	if err != nil {
		return err
	}
	if p.definition.Name != p.name {
		return &connector.Error{
			Kind: connector.KindConfig, Op: "launch connector " + p.name, Err: fmt.Errorf("%s calls itself %q", p.child.cmd.Path, p.definition.Name),
			Hint: "an executable must be named winch-connector-NAME after its connector; rename it",
		}
	}
	if spans != nil {
		return p.receiveSpans(spans)
	}
	return nil
}

// startError says why the start failed, which go-plugin's own words do not.
func (p *Process) startError(ctx context.Context, timeout time.Duration, err error) error {
	op := "launch connector " + p.name
	if errors.Is(context.Cause(ctx), errStartTimeout) {
		return &connector.Error{
			Kind: connector.KindUnavailable, Op: op, Err: fmt.Errorf("no answer within %v", timeout),
			Hint: "the machine may be overloaded, or the executable not be a winch connector",
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", op, ctx.Err())
	}
	if version, announced := p.child.protocolVersion(); announced && wire.ClientPlugins()[version] == nil {
		return &connector.Error{
			Kind: connector.KindConfig, Op: op,
			Err:  fmt.Errorf("it speaks version %d of the connector protocol, this agent version %s", version, spokenVersions()),
			Hint: "install a version of the connector that was built for this version of winch, or the other way round",
		}
	}
	if known := (*connector.Error)(nil); errors.As(err, &known) {
		return err
	}
	if p.child.started() {
		return p.lost(err)
	}
	return &connector.Error{
		Kind: connector.KindConfig, Op: op, Err: err,
		Hint: "the executable must be built for this operating system and processor",
	}
}

func spokenVersions() string {
	var versions []string
	for version := range wire.ClientPlugins() {
		versions = append(versions, strconv.Itoa(version))
	}
	return strings.Join(versions, ", ")
}
