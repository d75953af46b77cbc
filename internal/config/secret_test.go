package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
)

func runQuiet(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	return string(out), err
}

func TestConfigurationNeverPrintsSecrets(t *testing.T) {
	t.Parallel()
	const canary = "canary-5up3r"
	c := loadString(t, testOptions(t, "PW="+canary), `
sink: {url: "postgres://u:`+canary+`@h/db"}
sources:
  a:
    connector: shop
    config: {client_id: a, client_secret: `+canary+`, headers: {X-Key: `+canary+`}}
  b:
    connector: free
    config: {token: "`+canary+`${env:PW}"}
`)
	cfg, err := c.Sources[0].Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := c.Sink.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(cfg.Reveal()), canary) || !strings.Contains(u.Postgres.Reveal(), canary) {
		t.Fatal("the canary is not where it should be found")
	}
	type holder struct {
		Public  any
		private any
	}
	for _, v := range []any{c, *c, c.Sink, &c.Sink, c.Sources, c.Sources[0], *c.Sources[0], *c.Sources[1], cfg, u, &u} {
		for _, v := range []any{v, holder{v, v}, &holder{v, v}, []any{v}, map[string]any{"x": v}} {
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
			marshalled, err := json.Marshal(v)
			if err != nil {
				t.Errorf("%T: %v", v, err)
			}
			printed := fmt.Sprintf("%v %+v %#v %s %q %x", v, v, v, v, v, v) + log.String() + string(marshalled)
			for _, form := range []string{canary, fmt.Sprintf("%x", canary)} {
				if strings.Contains(printed, form) {
					t.Errorf("%T prints the secret: %s", v, printed)
				}
			}
		}
	}
}
