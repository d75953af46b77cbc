package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/winchdata/winch/pkg/connector"
)

// external is a directory with a copy of this test program as the connector toy.
// It is made before any test runs: a process forked in the meantime would inherit
// the file while it is open for writing, and it could not be executed.
var external string

const secretKey, secretValue = "WINCH_TEST_SECRET", "hunter2"

func TestMain(m *testing.M) {
	beToy()
	beMiddle()
	if err := os.Setenv(secretKey, secretValue); err != nil {
		panic(err)
	}
	dir, err := copySelf()
	if err != nil {
		panic(err)
	}
	external = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func copySelf() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "winch-plugin-test")
	if err != nil {
		return "", err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, Prefix+"toy"), program, 0o755)
}

// beMiddle is an agent that starts a toy and can then be killed.
func beMiddle() {
	if len(os.Args) != 3 || os.Args[1] != "middle" {
		return
	}
	ctx := context.Background()
	l := &Launcher{Bundled: toys, Logger: slog.New(slog.DiscardHandler)}
	p, err := l.Launch(ctx, "toy")
	if err != nil {
		panic(err)
	}
	src, err := p.Open(ctx, connector.NewConfig(fmt.Appendf(nil, `{"fifo":%q}`, os.Args[2])))
	if err != nil {
		panic(err)
	}
	panic(src.Pull(ctx, connector.Request{Stream: "child"}, &events{}))
}

// events is an emitter that keeps what it gets and lets tests step in.
type events struct {
	records     [][]byte
	checkpoints []string
	onRecord    func() error
	onCursor    func() error
}

func (e *events) Record(raw []byte) error {
	e.records = append(e.records, bytes.Clone(raw))
	if e.onRecord != nil {
		return e.onRecord()
	}
	return nil
}

func (e *events) Checkpoint(c connector.Cursor) error {
	e.checkpoints = append(e.checkpoints, string(c))
	if e.onCursor != nil {
		return e.onCursor()
	}
	return nil
}

// logs is a log that tests can wait for.
type logs struct {
	mu      sync.Mutex
	entries []map[string]any
	changed chan struct{}
}

func newLogs() *logs { return &logs{changed: make(chan struct{}, 1)} }

func (l *logs) Write(line []byte) (int, error) {
	var entry map[string]any
	if err := json.Unmarshal(line, &entry); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return len(line), nil
}

// wait returns the first entry whose field has the value.
func (l *logs) wait(t *testing.T, field, value string) map[string]any {
	t.Helper()
	for {
		l.mu.Lock()
		for _, entry := range l.entries {
			if entry[field] == value {
				l.mu.Unlock()
				return entry
			}
		}
		l.mu.Unlock()
		select {
		case <-l.changed:
		case <-time.After(30 * time.Second):
			l.mu.Lock()
			defer l.mu.Unlock()
			t.Fatalf("no entry with %s = %q in %v", field, value, l.entries)
		}
	}
}

func launch(t testing.TB, name string, change ...func(*Launcher)) *Process {
	t.Helper()
	l := &Launcher{Bundled: toys, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(l)
	}
	p, err := l.Launch(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func open(t testing.TB, p *Process, cfg toyConfigJSON) connector.Source {
	t.Helper()
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	src, err := p.Open(t.Context(), connector.NewConfig(raw))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// toyConfigJSON is toyConfig with its secret to be told.
type toyConfigJSON struct {
	Secret  string `json:"secret,omitempty"`
	Records int    `json:"records,omitempty"`
	Bytes   int    `json:"bytes,omitempty"`
	Fifo    string `json:"fifo,omitempty"`
}

func TestConnectorWorksAcrossTheProcessBoundary(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"bundled", "external"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			p := launch(t, "toy", func(l *Launcher) {
				if where == "external" {
					l.Bundled, l.Dirs = nil, []string{external}
				}
			})
			def := p.Definition()
			if def.Name != "toy" || def.Title != "Toy" || string(def.ConfigSchema) != `{"type":"object"}` || def.Open != nil {
				t.Errorf("definition %+v", def)
			}
			src := open(t, p, toyConfigJSON{Records: 5000, Bytes: 350, Secret: "s3cret"})
			out := &events{}
			if err := src.Pull(t.Context(), connector.Request{Stream: "records"}, out); err != nil {
				t.Fatal(err)
			}
			if len(out.records) != 5000 || !bytes.Equal(out.records[4999], toyRecord(350)) {
				t.Errorf("%d records, the last %s", len(out.records), out.records[len(out.records)-1])
			}
			if diff := cmp.Diff([]string{`{"v":1}`}, out.checkpoints); diff != "" {
				t.Error(diff)
			}
			token, err := src.(connector.Tokener).Token(t.Context(), "a")
			if err != nil || token.Value.Reveal() != "s3cret" || token.Scope != "a" || !token.ExpiresAt.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("token %+v, %v", token, err)
			}
			partitions, err := src.(connector.Partitioner).Partitions(t.Context(), "records")
			if diff := cmp.Diff([]string{"records_a", "records_b"}, partitions); diff != "" || err != nil {
				t.Error(diff, err)
			}
			if err := src.(io.Closer).Close(); err != nil {
				t.Error(err)
			}
			if err := src.Pull(t.Context(), connector.Request{Stream: "records"}, out); err == nil {
				t.Error("a closed source still pulls")
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if peak := p.PeakMemory(); peak < 1<<20 || peak > 1<<30 {
				t.Errorf("peak memory %d", peak)
			}
		})
	}
}

func TestAbilitiesThatTheSourceLacksAreUnsupported(t *testing.T) {
	t.Parallel()
	src := open(t, launch(t, "plain"), toyConfigJSON{})
	_, check := src.(connector.Checker).Check(t.Context())
	_, token := src.(connector.Tokener).Token(t.Context(), "")
	_, partitions := src.(connector.Partitioner).Partitions(t.Context(), "records")
	for name, err := range map[string]error{"check": check, "token": token, "partitions": partitions} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := src.(io.Closer).Close(); err != nil {
		t.Errorf("a source without Close: %v", err)
	}
}

func TestBadConfigurationIsKindConfigWithoutItsContent(t *testing.T) {
	t.Parallel()
	_, err := launch(t, "toy").Open(t.Context(), connector.NewConfig([]byte(`{"sekret":"`+secretValue+`"}`)))
	if connector.KindOf(err) != connector.KindConfig || connector.HintOf(err) != "look at the schema" || strings.Contains(err.Error(), secretValue) {
		t.Errorf("%v (%v, %q)", err, connector.KindOf(err), connector.HintOf(err))
	}
}

func TestConnectorSeesNothingOfTheAgentsEnvironment(t *testing.T) {
	t.Parallel()
	src := open(t, launch(t, "toy"), toyConfigJSON{Secret: "s3cret"})
	out := &events{}
	if err := src.Pull(t.Context(), connector.Request{Stream: "self"}, out); err != nil {
		t.Fatal(err)
	}
	if raw := string(out.records[0]); strings.Contains(raw, secretValue) || strings.Contains(raw, "s3cret") {
		t.Error("the connector's environment or arguments hold a secret of the agent or of the configuration")
	}
	var self struct {
		Env  []string
		Args []string
	}
	if err := json.Unmarshal(out.records[0], &self); err != nil {
		t.Fatal(err)
	}
	allowed := "SSL_CERT_FILE SSL_CERT_DIR TZ TMPDIR WINCH_CONNECTOR " +
		"PLUGIN_MIN_PORT PLUGIN_MAX_PORT PLUGIN_PROTOCOL_VERSIONS PLUGIN_CLIENT_CERT PLUGIN_UNIX_SOCKET_DIR"
	for _, variable := range self.Env {
		if key, _, _ := strings.Cut(variable, "="); !strings.Contains(" "+allowed+" ", " "+key+" ") {
			t.Errorf("the connector has %s", key)
		}
	}
	if diff := cmp.Diff([]string{"serve-connector", "toy"}, self.Args[1:]); diff != "" {
		t.Error(diff)
	}
}

func TestErrorUsageAndTraceCross(t *testing.T) {
	t.Parallel()
	l := newLogs()
	p := launch(t, "toy", func(launcher *Launcher) { launcher.Logger = slog.New(slog.NewJSONHandler(l, nil)) })
	src := open(t, p, toyConfigJSON{})

	usage := &connector.UsageRecorder{}
	err := src.Pull(connector.WithUsage(t.Context(), usage), connector.Request{Stream: "usage"}, &events{})
	want := &connector.Error{Kind: connector.KindRateLimited, Op: "page 3", RetryAfter: 90 * time.Second, Hint: "ask for a higher limit"}
	var got *connector.Error
	if !errors.As(err, &got) || got.Kind != want.Kind || got.Op != want.Op || got.RetryAfter != want.RetryAfter || got.Hint != want.Hint || err.Error() != "page 3: slow down" {
		t.Errorf("%#v", err)
	}
	if diff := cmp.Diff(connector.Usage{Requests: 3, Bytes: 100, Waited: time.Minute}, usage.Total()); diff != "" {
		t.Error(diff)
	}

	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled})
	out := &events{}
	if err := src.Pull(trace.ContextWithSpanContext(t.Context(), span), connector.Request{Stream: "trace"}, out); err != nil {
		t.Fatal(err)
	}
	if got, want := string(out.records[0]), fmt.Sprintf("%q", span.TraceID()); got != want {
		t.Errorf("trace %s, want %s", got, want)
	}
	if entry := l.wait(t, "msg", "tracing"); entry["trace_id"] != span.TraceID().String() {
		t.Errorf("log line without its trace: %v", entry)
	}
}

func TestConnectorsLogAndNoiseBecomeStructured(t *testing.T) {
	t.Parallel()
	l := newLogs()
	p := launch(t, "noisy", func(launcher *Launcher) {
		launcher.Logger = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if err := open(t, p, toyConfigJSON{}).Pull(t.Context(), connector.Request{Stream: "log"}, &events{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []map[string]any{
		{"msg": "connector wrote to stdout", "level": "WARN", "text": "hello from init"},
		{"msg": "connector wrote to stderr", "level": "WARN", "text": `{"@message": 1, "@level": {}}`},
		{"msg": "connector wrote to stdout", "level": "WARN", "text": "printed to stdout"},
		{"msg": "connector wrote to stderr", "level": "WARN", "text": "printed to stderr"},
		{"msg": "a debug line", "level": "DEBUG", "n": 1.0, "stream": "log"},
		{"msg": "an info line", "level": "INFO", "page": map[string]any{"number": 3.0}, "share": 0.5, "stream": "log"},
		{"msg": "a warning", "level": "WARN", "stream": "log"},
		{"msg": "an error line", "level": "ERROR", "error": "boom", "stream": "log"},
	} {
		field := "msg"
		if want["text"] != nil {
			field = "text"
		}
		got := l.wait(t, field, want[field].(string))
		want["connector"] = "noisy"
		want["time"] = got["time"]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLinesBelowTheAgentsLevelAreNotEvenSent(t *testing.T) {
	t.Parallel()
	l := newLogs()
	p := launch(t, "toy", func(launcher *Launcher) {
		launcher.Logger = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	if err := open(t, p, toyConfigJSON{}).Pull(t.Context(), connector.Request{Stream: "log"}, &events{}); err != nil {
		t.Fatal(err)
	}
	l.wait(t, "msg", "an error line")
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, entry := range l.entries {
		if entry["level"] == "DEBUG" || entry["level"] == "INFO" {
			t.Errorf("%v", entry)
		}
	}
}

func TestCancellationReachesTheConnector(t *testing.T) {
	t.Parallel()
	src := open(t, launch(t, "toy"), toyConfigJSON{})
	req := connector.Request{Stream: "block"}
	ctx, cancel := context.WithCancel(t.Context())
	err := src.Pull(ctx, req, &events{onCursor: func() error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) || !connector.Cancelled(err) {
		t.Errorf("%v", err)
	}
	// The same slice starts again only when the connector has left the first pull.
	full := errors.New("sink full")
	if err := src.Pull(t.Context(), req, &events{onCursor: func() error { return full }}); err != full { //nolint:errorlint // the very same
		t.Errorf("%v", err)
	}
	if err := src.(io.Closer).Close(); err != nil { // waits for the second
		t.Error(err)
	}
}

func TestSinkErrorEndsTheConnectorsPull(t *testing.T) {
	t.Parallel()
	src := open(t, launch(t, "toy"), toyConfigJSON{Records: 1 << 30, Bytes: 350})
	full := errors.New("sink full")
	out := &events{onRecord: func() error { return full }}
	if err := src.Pull(t.Context(), connector.Request{Stream: "records"}, out); err != full || len(out.records) != 1 { //nolint:errorlint // the very same
		t.Errorf("%v after %d records", err, len(out.records))
	}
	if err := src.(io.Closer).Close(); err != nil { // does not return before the pull has
		t.Error(err)
	}
}

func TestSlowSinkBoundsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	const total, bound = 256 << 20, 16 << 20
	p := launch(t, "toy")
	src := open(t, p, toyConfigJSON{Records: total >> 20, Bytes: 1 << 20})
	emitted := func() string {
		findings, err := src.(connector.Checker).Check(t.Context()) // also: other calls get through
		if err != nil {
			t.Error(err)
			return ""
		}
		return findings[0].Detail
	}
	var stalledAt string
	count := 0
	out := countingEmitter(func() error {
		if count++; count > 1 {
			return nil
		}
		for same := 0; same < 20; { // the connector has stopped when nothing changes any more
			<-time.After(10 * time.Millisecond)
			if now := emitted(); now == stalledAt {
				same++
			} else {
				same, stalledAt = 0, now
			}
		}
		return nil
	})
	if err := src.Pull(t.Context(), connector.Request{Stream: "records"}, out); err != nil {
		t.Fatal(err)
	}
	if n := 0; count != total>>20 {
		t.Errorf("%d records, want %d", count, total>>20)
	} else if _, err := fmt.Sscan(stalledAt, &n); err != nil || n > bound {
		t.Errorf("the connector was %s bytes ahead, want at most %d", stalledAt, bound)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if peak := p.PeakMemory(); peak > 128<<20 {
		t.Errorf("the connector needed %d MiB", peak>>20)
	}
}

type countingEmitter func() error

func (f countingEmitter) Record([]byte) error               { return f() }
func (f countingEmitter) Checkpoint(connector.Cursor) error { return nil }

func TestPullsRunAtTheSameTime(t *testing.T) {
	t.Parallel()
	src := open(t, launch(t, "toy"), toyConfigJSON{Records: 3000, Bytes: 350})
	var pulls sync.WaitGroup
	var together sync.WaitGroup
	together.Add(5)
	for i := range 5 {
		pulls.Go(func() {
			first := true
			n := 0
			err := src.Pull(t.Context(), connector.Request{Stream: "records", Partition: fmt.Sprint(i)}, countingEmitter(func() error {
				if n++; first {
					first = false
					together.Done()
					together.Wait() // until each has its first record
				}
				return nil
			}))
			if err != nil || n != 3000 {
				t.Errorf("pull %d: %d records, %v", i, n, err)
			}
		})
	}
	pulls.Wait()
}
