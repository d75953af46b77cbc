package generic

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func TestCursorsThatAreNotUnderstoodAreConfigErrors(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	src := v.open(t, nil)
	for _, cursor := range []string{`{`, `{"version":2}`, `{"version":1,"page":3}`, `[]`} {
		_, err := pull(t, src, connector.Request{Stream: "order_details", AsOf: march.Until, Cursor: connector.Cursor(cursor)})
		if connector.KindOf(err) != connector.KindConfig || connector.HintOf(err) == "" { // P7
			t.Errorf("%s: %v, hint %q", cursor, err, connector.HintOf(err))
		}
	}
	if _, err := pull(t, src, connector.Request{Stream: "order_details"}); connector.KindOf(err) != connector.KindConfig {
		t.Errorf("without a moment: %v", err)
	}
	wantRequests(t, v)
}

// What is final is not read again, what is not is, and what is gone is forgotten.
func TestOnlyOpenOrdersAreReadAgain(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	list := func(ids ...string) string {
		var rows []string
		for _, id := range ids {
			rows = append(rows, fmt.Sprintf(`{"order_id":%q,"create_time":"2025-03-04T10:00:00+08:00"}`, id))
		}
		return `{"data":{"order_list":[` + strings.Join(rows, ",") + `]}}`
	}
	status := map[string]string{"1": "COMPLETED", "2": "DELIVERED", "3": "DRAFT", "4": "CANCELLED"}
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		switch {
		case r.URL.Path == "/v1/order/list" && r.URL.Query().Get("start_date") < "2025-03-09":
			_, _ = io.WriteString(w, list("1", "2", "3", "4"))
		case r.URL.Path == "/v1/order/list":
			_, _ = io.WriteString(w, list())
		case status[id] == "":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":{"code":"order_not_found"}}`)
		default:
			fmt.Fprintf(w, `{"data":{"order_id":%q,"status":%q}}`, id, status[id])
		}
	}
	src := v.open(t, nil)
	req := connector.Request{Stream: "order_details", Since: march.Since, AsOf: march.Since.AddDate(0, 0, 5)}
	out, err := pull(t, src, req)
	if err != nil || len(out.records) != 4 {
		t.Fatalf("%d records, %v", len(out.records), err)
	}
	req.Cursor = out.cursors[len(out.cursors)-1]
	if diff := cmp.Diff(`{"version":1,"until":"2025-03-08T00:00:00Z","open":["2","3"]}`, string(req.Cursor)); diff != "" {
		t.Errorf("cursor (-want +got):\n%s", diff)
	}
	delete(status, "3")
	status["2"] = "COMPLETED"
	req.AsOf = req.AsOf.AddDate(0, 0, 5)
	out, err = pull(t, src, req)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`{"order_id":"2","status":"COMPLETED"}`}, out.records); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(`{"version":1,"until":"2025-03-13T00:00:00Z"}`, string(out.cursors[len(out.cursors)-1])); diff != "" {
		t.Errorf("cursor (-want +got):\n%s", diff)
	}
	if !strings.Contains(v.log.String(), "left out") || !strings.Contains(v.log.String(), "key=3") {
		t.Errorf("log: %s", v.log.String())
	}
}

// A cursor has a bound. What does not fit in it is listed again.
func TestMoreOpenOrdersThanACursorHolds(t *testing.T) {
	t.Parallel()
	c := &children{st: shownPreset().streams[1], out: new(recorder)}
	until := march.Since.AddDate(0, 0, 1)
	var rest []child
	for i := range 10_000 {
		rest = append(rest, child{fmt.Sprint(9000000 + i), march.Since.Add(time.Duration(i) * time.Second)})
	}
	c.open = append(c.open, child{key: "old"}, rest[0])
	if err := c.checkpoint(until, rest); err != nil {
		t.Fatal(err)
	}
	cursor := c.out.(*recorder).cursors[0]
	if len(cursor) > 64<<10 {
		t.Errorf("a cursor of %d bytes", len(cursor))
	}
	pos, err := readPosition(cursor)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]bool{}
	for _, key := range slices.Concat(pos.Open, pos.Due) {
		if held[key] {
			t.Errorf("%s comes twice", key)
		}
		held[key] = true
	}
	if !held["old"] || len(held) < 1000 {
		t.Errorf("%d held", len(held))
	}
	for _, p := range rest {
		if !held[p.key] && p.created.Before(pos.Until) {
			t.Fatalf("%s, created %s, is neither held nor listed again from %s", p.key, p.created, pos.Until)
		}
	}
}

// A pull that is stopped in the middle of a week goes on there.
func TestParentsWhoseTurnHasNotComeAreNotForgotten(t *testing.T) {
	t.Parallel()
	const orders = perCheckpoint + 20
	v := newVendor(t)
	lists := 0
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		if id := r.URL.Query().Get("id"); id != "" {
			fmt.Fprintf(w, `{"data":{"order_id":%q,"status":"COMPLETED"}}`, id)
			return
		}
		var rows []string
		if lists++; lists == 1 { // it has not to be listed again
			for i := range orders {
				rows = append(rows, fmt.Sprintf(`{"order_id":"%d","create_time":"2025-03-04T10:00:00+08:00"}`, 9000000+i))
			}
		}
		fmt.Fprintf(w, `{"data":{"order_list":[%s]}}`, strings.Join(rows, ","))
	}
	src := v.open(t, nil)
	req := connector.Request{Stream: "order_details", Since: march.Since, AsOf: march.Until}
	out := &recorder{stopAt: perCheckpoint + 5}
	if err := src.Pull(t.Context(), req, out); !errors.Is(err, errStop) || len(out.cursors) != 1 { // P3
		t.Fatalf("%d checkpoints, %v", len(out.cursors), err)
	}
	req.Cursor = out.cursors[0]
	again, err := pull(t, src, req)
	if err != nil {
		t.Fatal(err)
	}
	got := ids(append(out.records[:perCheckpoint], again.records...))
	if len(got) != orders || len(again.records) != orders-perCheckpoint {
		t.Errorf("%d of %d orders, %d after the stop", len(got), orders, len(again.records))
	}
}

// Each pull that fails has read what the next one need not, open or not; an hour
// later what is open is read again.
func TestFailedPullsReadNothingTwice(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	read := map[string]int{}
	broken := ""
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		switch id {
		case "":
			_, _ = io.WriteString(w, `{"data":{"order_list":[`+
				`{"order_id":"1","create_time":"2025-03-04T10:00:00+08:00"},{"order_id":"2","create_time":"2025-03-04T11:00:00+08:00"},`+
				`{"order_id":"3","create_time":"2025-03-04T12:00:00+08:00"}]}}`)
		case broken:
			_, _ = io.WriteString(w, `<html>`)
		default:
			read[id]++
			fmt.Fprintf(w, `{"data":{"order_id":%q,"status":"DRAFT"}}`, id)
		}
	}
	src := v.open(t, nil)
	req := connector.Request{Stream: "order_details", Since: march.Since, AsOf: march.Since.AddDate(0, 0, 5)}
	for i, step := range []struct {
		broken, cursor string
		after          time.Duration
	}{
		{"2", `{"version":1,"until":"2025-03-08T00:00:00Z","open":["1"],"due":["2","3"],"began":"2025-03-08T00:00:00Z"}`, 0},
		{"3", `{"version":1,"until":"2025-03-08T00:00:00Z","open":["1","2"],"due":["3"],"began":"2025-03-08T00:00:00Z"}`, 0},
		{"", `{"version":1,"until":"2025-03-08T00:00:00Z","open":["1","2","3"]}`, 0},
		{"2", `{"version":1,"until":"2025-03-08T00:00:00Z","open":["1"],"due":["2","3"],"began":"2025-03-08T00:00:00Z"}`, 0},
		{"", `{"version":1,"until":"2025-03-08T02:00:00Z","open":["1","2","3"]}`, 2 * time.Hour},
	} {
		broken = step.broken
		req.AsOf = req.AsOf.Add(step.after)
		out, err := pull(t, src, req)
		if (err == nil) != (broken == "") || len(out.cursors) == 0 {
			t.Fatalf("pull %d: %d checkpoints, %v", i+1, len(out.cursors), err)
		}
		req.Cursor = out.cursors[len(out.cursors)-1]
		if diff := cmp.Diff(step.cursor, string(req.Cursor)); diff != "" {
			t.Errorf("pull %d: cursor (-want +got):\n%s", i+1, diff)
		}
	}
	if diff := cmp.Diff(map[string]int{"1": 3, "2": 2, "3": 2}, read); diff != "" {
		t.Errorf("how often each was read (-want +got):\n%s", diff)
	}
}

func cursorOf(t *testing.T, until time.Time, open ...string) connector.Cursor {
	t.Helper()
	cursor, err := connector.NewCursor(position{Version: 1, Until: until, Open: open})
	if err != nil {
		t.Fatal(err)
	}
	return cursor
}
