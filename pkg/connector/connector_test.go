package connector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func TestSecretAndConfigNeverPrint(t *testing.T) {
	t.Parallel()
	const canary = "canary-4711"
	type settings struct {
		Secret connector.Secret
		hidden connector.Secret
		Config connector.Config
		config connector.Config
	}
	config := connector.NewConfig(json.RawMessage(`{"k":"` + canary + `"}`))
	s := settings{connector.NewSecret(canary), connector.NewSecret(canary), config, config}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", s.hidden)
		fmt.Fprintf(&out, verb+"\n", s.Config)
		fmt.Fprintf(&out, verb+"\n", s.config)
	}
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("all", "settings", s, "secret", s.Secret, "config", s.Config)
	slog.New(slog.NewTextHandler(&out, nil)).Info("all", "settings", s, "secret", s.Secret, "config", s.Config)
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	decimals := strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]")
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) || strings.Contains(out.String(), decimals) {
		t.Errorf("a secret was printed:\n%s", out.String())
	}
	if got := s.Secret.Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want %q", got, canary)
	}
}

func TestSecretDecodeErrorHidesTheValue(t *testing.T) {
	t.Parallel()
	var s struct{ Secret connector.Secret }
	err := connector.NewConfig(json.RawMessage(`{"Secret": 4711}`)).Decode(&s)
	if err == nil || strings.Contains(err.Error(), "4711") {
		t.Errorf("Decode of a number into a secret: %v, want an error without the value", err)
	}
}

func TestConfigDecodeIsStrict(t *testing.T) {
	t.Parallel()
	var v struct {
		Host string `json:"host"`
	}
	for _, raw := range []string{`{"hosts": "x"}`, `{"host": 1}`, `{"host": "a"} {}`, `[]`, `{`} {
		if err := connector.NewConfig(json.RawMessage(raw)).Decode(&v); err == nil {
			t.Errorf("Decode(%s): no error", raw)
		}
	}
	if err := (connector.Config{}).Decode(&v); err != nil {
		t.Errorf("Decode of no configuration: %v", err)
	}
}

func TestCursorThatIsNotUnderstoodIsAConfigError(t *testing.T) {
	t.Parallel()
	type position struct {
		Version int    `json:"version"`
		Page    string `json:"page"`
	}
	cur, err := connector.NewCursor(position{1, "p2"})
	if err != nil {
		t.Fatal(err)
	}
	var got position
	if err := cur.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(position{1, "p2"}, got); diff != "" {
		t.Errorf("decoded cursor (-want +got):\n%s", diff)
	}
	for _, bad := range []connector.Cursor{nil, connector.Cursor("{"), connector.Cursor(`{"other":1}`)} {
		err := bad.Decode(&got)
		if connector.KindOf(err) != connector.KindConfig || connector.HintOf(err) == "" {
			t.Errorf("Decode(%q) = %v: want KindConfig with a hint (P7)", bad, err)
		}
	}
}

func TestErrorFactsAreFoundInTheChain(t *testing.T) {
	t.Parallel()
	inner := &connector.Error{Kind: connector.KindRateLimited, Op: "page 3", Err: io.ErrUnexpectedEOF, RetryAfter: time.Minute}
	outer := fmt.Errorf("pull a/b: %w", &connector.Error{Op: "list", Err: inner, Hint: "wait"})
	if got := connector.KindOf(outer); got != connector.KindRateLimited {
		t.Errorf("KindOf = %v", got)
	}
	if got := connector.HintOf(outer); got != "wait" {
		t.Errorf("HintOf = %q", got)
	}
	if got := connector.RetryAfterOf(outer); got != time.Minute {
		t.Errorf("RetryAfterOf = %v", got)
	}
	if got, want := outer.Error(), "pull a/b: list: page 3: unexpected EOF"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if !errors.Is(outer, io.ErrUnexpectedEOF) {
		t.Error("the cause is not in the chain")
	}
	if got := connector.KindOf(io.EOF); got != connector.KindUnknown {
		t.Errorf("KindOf(io.EOF) = %v", got)
	}
}

func TestKindNamesRoundTrip(t *testing.T) {
	t.Parallel()
	for k := connector.KindUnknown; k <= connector.KindBadResponse; k++ {
		if got := connector.ParseKind(k.String()); got != k {
			t.Errorf("ParseKind(%q) = %v, want %v", k.String(), got, k)
		}
	}
	if got := connector.ParseKind("nonsense"); got != connector.KindUnknown {
		t.Errorf("ParseKind of nonsense = %v", got)
	}
}

func TestUsageIsRecordedInTheContext(t *testing.T) {
	t.Parallel()
	var r connector.UsageRecorder
	ctx := connector.WithUsage(t.Context(), &r)
	connector.RecordUsage(ctx, connector.Usage{Requests: 2, Bytes: 10})
	connector.RecordUsage(ctx, connector.Usage{Requests: 1, Waited: time.Second})
	connector.RecordUsage(context.Background(), connector.Usage{Requests: 100}) // nobody asked
	want := connector.Usage{Requests: 3, Bytes: 10, Waited: time.Second}
	if diff := cmp.Diff(want, r.Total()); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(connector.Usage{Requests: 2, Bytes: 10, Waited: time.Second}, r.Total().Sub(connector.Usage{Requests: 1})); diff != "" {
		t.Errorf("difference (-want +got):\n%s", diff)
	}
}

func TestStreamValidation(t *testing.T) {
	t.Parallel()
	good := connector.Stream{
		Name: "calls", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "start", Slice: connector.Days(1),
		Columns: []connector.Column{
			{Name: "id", Type: connector.TypeBigint},
			{Name: "start", Type: connector.TypeTimestamp, Formats: []string{time.DateTime}},
		},
	}
	if err := good.Validate(); err != nil {
		t.Errorf("a good stream: %v", err)
	}
	for want, change := range map[string]func(*connector.Stream){
		"name must match":                 func(s *connector.Stream) { s.Name = "Calls" },
		`mode "": want`:                   func(s *connector.Stream) { s.Mode = "" },
		"want a positive span":            func(s *connector.Stream) { s.Slice = connector.Span{} },
		"primary key is empty":            func(s *connector.Stream) { s.PrimaryKey = nil },
		`key column "x" is not declared`:  func(s *connector.Stream) { s.PrimaryKey = []string{"x"} },
		"json cannot identify":            func(s *connector.Stream) { s.Columns[0].Type = connector.TypeJSON },
		`partition column "start"`:        func(s *connector.Stream) { s.PartitionColumn = "start" },
		`time column "id"`:                func(s *connector.Stream) { s.TimeColumn = "id" },
		"only window streams have one":    func(s *connector.Stream) { s.Mode = connector.ModeSnapshot },
		`column "id" is declared twice`:   func(s *connector.Stream) { s.Columns[1].Name = "id"; s.TimeColumn = "" },
		`unknown type "int"`:              func(s *connector.Stream) { s.Columns[0].Type = "int" },
		"formats need the type date":      func(s *connector.Stream) { s.Columns[0].Formats = []string{"2006"} },
		`column "Start": name must match`: func(s *connector.Stream) { s.Columns[1].Name = "Start"; s.TimeColumn = "" },
	} {
		bad := good
		bad.Columns = append([]connector.Column(nil), good.Columns...)
		change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want it to contain %q", err, want)
		}
	}
}
