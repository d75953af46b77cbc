package contentsquare

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/winchdata/winch/pkg/connector"
)

func TestPullRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	src := newVendor(t).open(t, nil)
	for _, req := range []connector.Request{
		{Stream: "invoices", Partition: "42"},
		{Stream: "site_metrics", Partition: "42"},
		{Stream: "site_metrics", Partition: "42", Window: connector.Window{Since: march.Until, Until: march.Since}},
		{Stream: "segments"},
		{Stream: "segments", Partition: "42/../43"},
		{Stream: "segments", Partition: "042"},
		{Stream: "export_runs", Partition: "42", Cursor: connector.Cursor(`{"page":3}`)},
		{Stream: "export_runs", Partition: "42", Cursor: connector.Cursor(`{"v":2}`)},
		{Stream: "export_files", Partition: "42", Cursor: connector.Cursor(`garbage`)},
	} {
		err := src.Pull(t.Context(), req, &recorder{})
		if connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s[%s] %s %s: %v", req.Stream, req.Partition, req.Window, req.Cursor, err) // P7
		}
	}
}

// endless is a list of segments, or of a day's values, that goes on.
func endless(w http.ResponseWriter, r *http.Request) {
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`{"id":%d,"name":"m%d","startDate":"2026-03-01T00:00:00.000Z"}`, i+1, i))
	}
	body := "[" + strings.Join(list, ",") + "]"
	if strings.Contains(r.URL.Path, "metrics") {
		body = `{"values":` + body + `}`
	}
	_, _ = fmt.Fprintf(w, `{"success":true,"payload":%s}`, body)
}

func TestPullEndsWhenCancelled(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = endless
	src := v.open(t, map[string]any{"devices": []string{"all", "mobile"}})
	ctx, cancel := context.WithCancel(t.Context())
	out := recorder{then: func(n int) {
		if n == 1500 {
			cancel()
		}
	}}
	err := src.Pull(ctx, connector.Request{Stream: "site_metrics", Partition: "42", Window: march}, &out)
	if err != nil && !connector.Cancelled(err) || out.n > 2000 {
		t.Errorf("cancelled in the second answer: %v after %d records", err, out.n) // P4
	}
	before := len(v.seen())
	err = src.Pull(ctx, connector.Request{Stream: "page_group_metrics", Partition: "42", Window: march}, &out)
	if !connector.Cancelled(err) || len(v.seen()) > before {
		t.Errorf("cancelled before the first request: %v", err)
	}
}

func TestPullEndsWithTheEmittersError(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = endless
	src := v.open(t, map[string]any{"devices": []string{"all", "mobile"}})
	for _, stream := range []string{"segments", "site_metrics"} {
		for _, failAt := range []int{1, 999, 1000} {
			out := recorder{failAt: failAt}
			err := src.Pull(t.Context(), connector.Request{Stream: stream, Partition: "42", Window: march}, &out)
			if !errors.Is(err, errFull) || len(out.events) != failAt {
				t.Errorf("%s failing at %d: %v after %d", stream, failAt, err, len(out.events)) // P3
			}
		}
	}
}
