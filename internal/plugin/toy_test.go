package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/winchdata/winch/internal/wire"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/serve"
)

// toys are the connectors that this test program is when it is told so.
var toys = []string{"toy", "plain", "hang", "crash_at_start", "noisy", "misnamed", "old_protocol", "auto_mtls"}

// beToy serves a toy if the arguments or the program's name ask for one.
func beToy() {
	name := ""
	if len(os.Args) == 3 && os.Args[1] == wire.ServeArgument {
		name = os.Args[2]
	} else if _, external, ok := strings.Cut(os.Args[0], "/"+Prefix); ok {
		name = external
	}
	switch name {
	case "":
		return
	case "hang":
		select {}
	case "crash_at_start":
		fmt.Fprintln(os.Stderr, "cannot read my own mind")
		os.Exit(3)
	case "misnamed":
		serve.Main(toyDefinition("toy"))
	case "noisy":
		fmt.Println("hello from init")
		fmt.Fprintln(os.Stderr, `{"@message": 1, "@level": {}}`)
	case "old_protocol", "auto_mtls": // as a connector that is not of the package serve
		version := wire.ProtocolVersion
		if name == "old_protocol" {
			version = 99
		}
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig: wire.Handshake,
			VersionedPlugins: map[int]goplugin.PluginSet{
				version: wire.ServerPlugins(wire.NewServer(toyDefinition(name), func(slog.Level) {}))[wire.ProtocolVersion],
			},
			GRPCServer: func(options []grpc.ServerOption) *grpc.Server { return grpc.NewServer(options...) },
		})
		os.Exit(0)
	}
	if len(os.Args) == 3 {
		serve.Bundled(os.Args[1:], toyDefinition(name))
	}
	serve.Main(toyDefinition(name))
}

func toyDefinition(name string) connector.Definition {
	return connector.Definition{
		Name: name, Title: "Toy", DocsURL: "https://toy.example/docs", ConfigSchema: json.RawMessage(`{"type":"object"}`),
		Open: func(_ context.Context, cfg connector.Config) (connector.Source, error) {
			src := &toySource{}
			if err := cfg.Decode(&src.config); err != nil {
				return nil, &connector.Error{Kind: connector.KindConfig, Err: err, Hint: "look at the schema"}
			}
			if name == "plain" {
				return plainSource{src}, nil
			}
			return src, nil
		},
	}
}

type toyConfig struct {
	Secret  connector.Secret `json:"secret"`
	Records int              `json:"records"`
	Bytes   int              `json:"bytes"`
	Fifo    string           `json:"fifo"`
}

// plainSource hides the optional methods of a source.
type plainSource struct{ connector.Source }

type toySource struct {
	config  toyConfig
	emitted atomic.Int64 // bytes
}

func (s *toySource) Streams(context.Context) ([]connector.Stream, error) {
	return []connector.Stream{{Name: "records", Mode: connector.ModeCursor, PrimaryKey: []string{"id"}}}, nil
}

func (s *toySource) Check(context.Context) ([]connector.Finding, error) {
	return []connector.Finding{{Name: "emitted", Detail: fmt.Sprint(s.emitted.Load())}}, nil
}

func (s *toySource) Token(_ context.Context, partition string) (connector.Token, error) {
	return connector.Token{Value: s.config.Secret, Type: "Bearer", Scope: partition, ExpiresAt: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}, nil
}

func (s *toySource) Partitions(_ context.Context, stream string) ([]string, error) {
	return []string{stream + "_a", stream + "_b"}, nil
}

// Pull does what the stream's name says.
func (s *toySource) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	switch req.Stream {
	case "records":
		raw := toyRecord(s.config.Bytes)
		for range s.config.Records {
			if err := out.Record(raw); err != nil {
				return err
			}
			s.emitted.Add(int64(len(raw)))
		}
		return out.Checkpoint(connector.Cursor(`{"v":1}`))
	case "self":
		raw, err := json.Marshal(map[string]any{"env": os.Environ(), "args": os.Args, "pid": os.Getpid()})
		if err != nil {
			return err
		}
		return out.Record(raw)
	case "trace":
		span := trace.SpanContextFromContext(ctx)
		slog.InfoContext(ctx, "tracing")
		return out.Record(fmt.Appendf(nil, "%q", span.TraceID().String()))
	case "usage":
		connector.RecordUsage(ctx, connector.Usage{Requests: 3, Bytes: 100, Waited: time.Minute})
		return &connector.Error{Kind: connector.KindRateLimited, Op: "page 3", Err: errors.New("slow down"), RetryAfter: 90 * time.Second, Hint: "ask for a higher limit"}
	case "panic":
		if err := out.Checkpoint(connector.Cursor(`{}`)); err != nil {
			return err
		}
		panic("the toy broke")
	case "goroutine_panic":
		go func() { panic("the toy broke elsewhere") }()
		<-ctx.Done()
		return ctx.Err()
	case "block":
		if err := out.Checkpoint(connector.Cursor(`{}`)); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	case "log":
		logger := slog.With("stream", req.Stream)
		logger.Debug("a debug line", "n", 1)
		logger.Info("an info line", slog.Group("page", "number", 3), "share", 0.5)
		logger.Warn("a warning")
		logger.Error("an error line", "error", errors.New("boom"))
		fmt.Println("printed to stdout")
		fmt.Fprintln(os.Stderr, "printed to stderr")
		return out.Checkpoint(connector.Cursor(`{}`))
	case "child":
		return s.startChild(ctx, out)
	}
	return fmt.Errorf("no stream %s", req.Stream)
}

// startChild opens the fifo, has a process of its own hold it open too, says so
// and waits. Who reads the fifo to its end knows that both are gone.
func (s *toySource) startChild(ctx context.Context, out connector.Emitter) error {
	fifo, err := os.OpenFile(s.config.Fifo, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self, wire.ServeArgument, "hang")
	child.ExtraFiles = []*os.File{fifo}
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(fifo, "ready"); err != nil {
		return err
	}
	if err := out.Checkpoint(connector.Cursor(`{}`)); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func toyRecord(size int) []byte {
	frame := `{"id":1,"text":""}`
	return []byte(`{"id":1,"text":"` + strings.Repeat("x", max(0, size-len(frame))) + `"}`)
}
