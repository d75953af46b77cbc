package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/serve"
)

// hangingMain is a connector of one's own that hangs where its settings say, and
// listens to nobody: in open, streams, limits, or the partitions of the stream slow.
func hangingMain() {
	serve.Main(connector.Definition{
		Name: "hanging", Title: "A connector that hangs",
		ConfigSchema: json.RawMessage(`{"type":"object","properties":{"in":{"type":"string"}},"additionalProperties":false}`),
		Open: func(_ context.Context, cfg connector.Config) (connector.Source, error) {
			var settings struct {
				In string `json:"in"`
			}
			if err := cfg.Decode(&settings); err != nil {
				return nil, err
			}
			h := hanging{settings.In}
			h.maybe("open")
			return h, nil
		},
	})
}

type hanging struct{ in string }

func (h hanging) maybe(where string) {
	if h.in == where {
		select {}
	}
}

func (h hanging) Streams(context.Context) (streams []connector.Stream, err error) {
	h.maybe("streams")
	for _, name := range []string{"slow", "quick"} {
		streams = append(streams, connector.Stream{
			Name: name, Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
			Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}},
		})
	}
	return streams, nil
}

func (h hanging) Limits(context.Context) (connector.Limits, error) {
	h.maybe("limits")
	return connector.Limits{}, nil
}

func (h hanging) Partitions(_ context.Context, stream string) ([]string, error) {
	if stream == "slow" {
		h.maybe("partitions")
	}
	return nil, nil
}

func (h hanging) Pull(_ context.Context, _ connector.Request, out connector.Emitter) error {
	return out.Record([]byte(`{"id":1}`))
}

// A source that does not answer is given up and told, wherever it hangs, and its
// connector ends. A stream that hangs alone fails alone (I6).
func TestSourceThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "winch-connector-hanging"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{"open", "streams", "limits", "partitions"} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			s := &serving{t: t, dir: t.TempDir()}
			yaml := fmt.Sprintf(`
sink: {url: "sqlite:winch.db"}
serve: {listen: "127.0.0.1:0", stuck_after: 2s}
plugins: {directories: [%s]}
sources:
  toy: {connector: hanging, config: {in: %s}, schedule: "@every 1s"}
`, dir, in)
			if err := os.WriteFile(filepath.Join(s.dir, "winch.yaml"), []byte(yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			s.start()
			connectors := s.awaitChild()
			event, landed := "run failed", int64(0)
			if in == "partitions" {
				event, landed = "run incomplete", 1
			}
			ended := s.await(event)
			if want := "stuck: no answer for 2s"; !strings.Contains(ended.Error, want) || ended.Rows != landed {
				t.Errorf("want %d rows and %q, got %+v", landed, want, ended)
			}
			for deadline := time.Now().Add(patience); len(alive(connectors)) > 0; {
				if time.Now().After(deadline) {
					t.Fatalf("connectors that remain: %v", alive(connectors))
				}
			}
			s.signal(os.Interrupt)
			if code := s.ends(); code != 0 && code != 130 {
				t.Errorf("ended with %d", code)
			}
		})
	}
}
