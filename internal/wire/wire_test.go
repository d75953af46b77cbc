package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
)

// source is a connector's source made of functions.
type source struct {
	streams func(context.Context) ([]connector.Stream, error)
	pull    func(context.Context, connector.Request, connector.Emitter) error
	check   func(context.Context) ([]connector.Finding, error)
}

func (s source) Streams(ctx context.Context) ([]connector.Stream, error) { return s.streams(ctx) }
func (s source) Check(ctx context.Context) ([]connector.Finding, error)  { return s.check(ctx) }
func (s source) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	return s.pull(ctx, req, out)
}

// sink is an emitter made of functions, nil for none.
type sink struct {
	record     func(raw []byte) error
	checkpoint func(c connector.Cursor) error
}

func (s sink) Record(raw []byte) error {
	if s.record == nil {
		return nil
	}
	return s.record(raw)
}

func (s sink) Checkpoint(c connector.Cursor) error {
	if s.checkpoint == nil {
		return nil
	}
	return s.checkpoint(c)
}

// across returns src as it is seen through gRPC, with the real options of both
// sides but over memory, so that it also works in a synctest bubble.
func across(t *testing.T, src connector.Source) *Source {
	t.Helper()
	pipe := bufconn.Listen(1 << 16)
	grpcServer := grpc.NewServer(ServerOptions()...)
	server := NewServer(connector.Definition{
		Name: "toy", Open: func(context.Context, connector.Config) (connector.Source, error) { return src, nil },
	}, func(slog.Level) {})
	connectorpb.RegisterConnectorServiceServer(grpcServer, server)
	served := make(chan error, 1)
	go func() { served <- grpcServer.Serve(pipe) }()
	conn, err := grpc.NewClient("passthrough:///memory", append(DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		grpcServer.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := server.CloseSources(); err != nil {
			t.Error(err)
		}
	})
	remote, err := NewClient(conn, func(err error) error { return fmt.Errorf("lost: %w", err) }).Open(t.Context(), connector.NewConfig(nil))
	if err != nil {
		t.Fatal(err)
	}
	return remote
}

func TestEveryFieldCrosses(t *testing.T) {
	t.Parallel()
	streams := make([]connector.Stream, 2)
	fill(t, reflect.ValueOf(streams))
	if diff := cmp.Diff(streams, decodeStreams(encodeStreams(streams))); diff != "" {
		t.Error(diff)
	}
	var usage connector.Usage
	fill(t, reflect.ValueOf(&usage).Elem())
	if diff := cmp.Diff(usage, decodeUsage(encodeUsage(usage))); diff != "" {
		t.Error(diff)
	}
}

// fill gives each field of v a value that is not zero, so that one which is
// added and does not cross is found.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.String:
		v.SetString("väl")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-7)
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

func TestErrorsCross(t *testing.T) {
	t.Parallel()
	cause := errors.New("502 Bad Gateway")
	tests := map[string]error{
		"plain":   cause,
		"wrapped": fmt.Errorf("page 3: %w", &connector.Error{Kind: connector.KindUnavailable, Op: "report", Err: cause, Hint: "wait"}),
		"nested": &connector.Error{Op: "stream", Hint: "outer", Err: &connector.Error{
			Kind: connector.KindRateLimited, Op: "page", Err: cause, RetryAfter: 1500 * time.Millisecond, Hint: "inner",
		}},
		"joined":                 errors.Join(cause, &connector.Error{Kind: connector.KindAuth, Err: cause}),
		"not text":               errors.New("bad \xff byte"),
		"its own time-out":       &connector.Error{Kind: connector.KindUnavailable, Op: "get", Err: context.DeadlineExceeded},
		"its own cancellation":   context.Canceled,
		"unsupported":            fmt.Errorf("probing: %w", errors.ErrUnsupported),
		"an op with a colon":     &connector.Error{Op: "a: b", Err: cause},
		"an op that is repeated": &connector.Error{Op: "a", Err: errors.New("a: a")},
	}
	for kind := connector.KindUnknown; kind <= connector.KindBadResponse; kind++ {
		tests[kind.String()] = &connector.Error{Kind: kind, Op: "page 3", Err: cause, RetryAfter: time.Minute, Hint: "try"}
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := across(t, source{
				pull:    func(context.Context, connector.Request, connector.Emitter) error { return want },
				streams: func(context.Context) ([]connector.Stream, error) { return nil, want },
			})
			_, unary := src.Streams(t.Context())
			for _, got := range []error{unary, src.Pull(t.Context(), connector.Request{}, sink{})} {
				type seen struct {
					Text, Hint string
					Kind       connector.Kind
					RetryAfter time.Duration
					Cancelled  bool
					Unsup      bool
				}
				look := func(err error) seen {
					return seen{err.Error(), connector.HintOf(err), connector.KindOf(err), connector.RetryAfterOf(err), connector.Cancelled(err), errors.Is(err, errors.ErrUnsupported)}
				}
				expected := look(want)
				expected.Text = strings.ToValidUTF8(expected.Text, "\uFFFD")
				expected.Cancelled = false // the call was not cancelled
				if diff := cmp.Diff(expected, look(got)); diff != "" {
					t.Error(diff)
				}
				if e, ok := want.(*connector.Error); ok { //nolint:errorlint // the outermost
					var g *connector.Error
					if !errors.As(got, &g) || g.Op != e.Op {
						t.Errorf("op of %#v, want %q", got, e.Op)
					}
				}
			}
		})
	}
}

func TestCancelledCallsAreCancelledOnBothSides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sawIt := make(chan error, 2)
		src := across(t, source{pull: func(ctx context.Context, _ connector.Request, _ connector.Emitter) error {
			<-ctx.Done()
			sawIt <- ctx.Err()
			return fmt.Errorf("gave up: %w", ctx.Err())
		}})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if err := src.Pull(ctx, connector.Request{}, sink{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if err := <-sawIt; err == nil {
			t.Error("the connector was not cancelled")
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := src.Pull(ctx, connector.Request{}, sink{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if err := <-sawIt; err == nil {
			t.Error("the connector was not cancelled")
		}
	})
}

// The answer of a cancelled connector normally comes too late to be seen. A
// deadline's comes at the same time as the caller's own.
func TestConnectorsAnswerToItsCancellationIsOne(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		f, ok := decodeFault(status.Convert(encodeFault(ctx, errors.New("interrupted"))))
		if !ok || !errors.Is(f.err, ctx.Err()) || f.err.Error() != "interrupted" {
			t.Errorf("%v, want one that wraps %v", f.err, ctx.Err())
		}
	}
}

func TestSlowReaderStopsTheConnector(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		emitted := 0
		record := make([]byte, 350)
		src := across(t, source{pull: func(ctx context.Context, _ connector.Request, out connector.Emitter) error {
			for {
				if err := out.Record(record); err != nil {
					return err
				}
				emitted += len(record)
			}
		}})
		enough := errors.New("enough")
		err := src.Pull(t.Context(), connector.Request{}, sink{record: func([]byte) error {
			synctest.Wait() // until nothing moves any more
			return enough
		}})
		if !errors.Is(err, enough) {
			t.Error(err)
		}
		synctest.Wait()
		if limit := pullWindow + 5*maxBatch; emitted < pullWindow || emitted > limit {
			t.Errorf("the connector was %d bytes ahead, want between %d and %d", emitted, pullWindow, limit)
		}
	})
}

func TestRecordsWaitNoLongerThanASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		src := across(t, source{pull: func(ctx context.Context, _ connector.Request, out connector.Emitter) error {
			connector.RecordUsage(ctx, connector.Usage{Requests: 1})
			if err := out.Record([]byte(`{}`)); err != nil {
				return err
			}
			<-time.After(time.Hour) // the vendor takes its time
			connector.RecordUsage(ctx, connector.Usage{Requests: 2})
			return nil
		}})
		usage := &connector.UsageRecorder{}
		var after time.Duration
		var soFar connector.Usage
		err := src.Pull(connector.WithUsage(t.Context(), usage), connector.Request{}, sink{record: func([]byte) error {
			after, soFar = time.Since(start), usage.Total()
			return nil
		}})
		if err != nil || after > flushEvery || soFar.Requests != 1 || usage.Total().Requests != 3 {
			t.Errorf("%v: the record came after %v with usage %+v, in the end %+v", err, after, soFar, usage.Total())
		}
	})
}

func TestRecordsAndCheckpointsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	var want []string
	var script []func(connector.Emitter) error
	for i := range 2000 {
		if random.IntN(50) == 0 {
			cursor := fmt.Appendf(nil, `{"v":%d}`, i)
			if i%3 == 0 {
				cursor = nil
			}
			want = append(want, "checkpoint "+string(cursor))
			script = append(script, func(out connector.Emitter) error { return out.Checkpoint(cursor) })
			continue
		}
		size := random.IntN(2000)
		if random.IntN(300) == 0 {
			size = random.IntN(3 << 20)
		}
		record := strings.Repeat(string(rune('a'+i%26)), size)
		want = append(want, record)
		script = append(script, func(out connector.Emitter) error { return out.Record([]byte(record)) })
	}
	src := across(t, source{pull: func(_ context.Context, _ connector.Request, out connector.Emitter) error {
		for _, step := range script {
			if err := step(out); err != nil {
				return err
			}
		}
		return nil
	}})
	var got []string
	err := src.Pull(t.Context(), connector.Request{}, sink{
		record:     func(raw []byte) error { got = append(got, string(raw)); return nil },
		checkpoint: func(c connector.Cursor) error { got = append(got, "checkpoint "+string(c)); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != len(got) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want {
		if want[i] != got[i] {
			t.Fatalf("event %d has %d bytes, want %d", i, len(got[i]), len(want[i]))
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		record, cursor int
		want           string
	}{
		"the largest record":     {record: maxRecord},
		"a record too large":     {record: maxRecord + 1, want: "orders: a record of 8388609 bytes, at most 8388608 are possible"},
		"the largest cursor":     {cursor: maxCursor},
		"a cursor too large":     {cursor: maxCursor + 1, want: "orders: a cursor of 65537 bytes, at most 65536 are possible"},
		"both at their largest":  {record: maxRecord, cursor: maxCursor},
		"a record far too large": {record: 4 * maxMessage, want: "orders: a record of 67108864 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ignored := errors.New("not what the connector returns")
			src := across(t, source{pull: func(_ context.Context, _ connector.Request, out connector.Emitter) error {
				_ = out.Record(make([]byte, test.record)) // a connector that looks at no error
				if out.Checkpoint(make([]byte, test.cursor)) == nil && test.want != "" {
					return ignored
				}
				return nil
			}})
			records := 0
			err := src.Pull(t.Context(), connector.Request{Stream: "orders"}, sink{record: func([]byte) error { records++; return nil }})
			if test.want == "" {
				if err != nil || records != 1 {
					t.Errorf("%d records, %v", records, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestRequestCrossesWithTimesInUTC(t *testing.T) {
	t.Parallel()
	stockholm := time.FixedZone("", 3600)
	at := time.Date(2026, 3, 1, 0, 0, 0, 123456789, stockholm)
	want := connector.Request{
		Stream: "orders", Partition: "a b", Window: connector.Window{Since: at, Until: at.Add(time.Hour)},
		Cursor: connector.Cursor(`{"v":1}`), Since: at.Add(-time.Hour), AsOf: at.Add(2 * time.Hour),
	}
	got := decodePull(encodePull(1, want))
	if diff := cmp.Diff(want, got); diff != "" || got.AsOf.Location() != time.UTC {
		t.Error(diff, got.AsOf)
	}
	if diff := cmp.Diff(connector.Request{}, decodePull(encodePull(1, connector.Request{}))); diff != "" {
		t.Error(diff)
	}
}

func TestFindingsComeBesideTheError(t *testing.T) {
	t.Parallel()
	want := []connector.Finding{{Name: "ping", Detail: "12 ms"}, {Name: "introspection", Detail: "3 projects"}}
	for _, failure := range []error{nil, &connector.Error{Kind: connector.KindForbidden, Err: errors.New("project 4")}} {
		src := across(t, source{check: func(ctx context.Context) ([]connector.Finding, error) {
			connector.RecordUsage(ctx, allUsage)
			return want, failure
		}})
		usage := &connector.UsageRecorder{}
		got, err := src.Check(connector.WithUsage(t.Context(), usage))
		if diff := cmp.Diff(want, got); diff != "" || connector.KindOf(err) != connector.KindOf(failure) || (err == nil) != (failure == nil) {
			t.Error(diff, err)
		}
		if diff := cmp.Diff(allUsage, usage.Total()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSliceIsNotPulledTwiceAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		running := 0
		src := across(t, source{pull: func(ctx context.Context, _ connector.Request, _ connector.Emitter) error {
			if running++; running > 1 {
				t.Error("the slice is being pulled already")
			}
			<-ctx.Done()
			<-time.After(4 * time.Second) // within what P4 allows
			running--
			return ctx.Err()
		}})
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := src.Pull(ctx, connector.Request{Stream: "orders"}, sink{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestConnectionErrorsAreExplainedByTheCaller(t *testing.T) {
	t.Parallel()
	src := across(t, source{})
	src.client.conn = broken{}
	if err := src.Pull(t.Context(), connector.Request{}, sink{}); err == nil || !strings.HasPrefix(err.Error(), "lost: ") {
		t.Error(err)
	}
}

// broken is a connection that is not there.
type broken struct{ grpc.ClientConnInterface }

func (broken) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(14, "error reading from server: EOF")
}

// allUsage has each field, so that one that does not cross the wire is missed.
var allUsage = connector.Usage{
	Requests: 1, Retries: 2, Bytes: 3, Waited: 4, TokensFetched: 5, RenewedOn401: 6, Requesting: 7, FetchingTokens: 8,
	Status2xx: 9, Status3xx: 10, Status4xx: 11, Status5xx: 12, WaitedForLimit: 13,
}
