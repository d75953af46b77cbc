package sandbox_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/internal/sandbox/kaisa"
)

// plain makes values of the wire and of the truth comparable.
func plain(v any) any {
	switch v := v.(type) {
	case int64, float64:
		return fmt.Sprint(v)
	case time.Time:
		return v.Format(time.DateTime)
	default:
		return v
	}
}

// table is records by key; it fails on a key that comes twice with different
// content.
func table(t *testing.T, all []map[string]any, key ...string) map[string]map[string]any {
	t.Helper()
	rows := map[string]map[string]any{}
	for _, record := range all {
		row := map[string]any{}
		for name, v := range record {
			row[name] = plain(v)
		}
		var id []string
		for _, name := range key {
			id = append(id, fmt.Sprint(row[name]))
		}
		k := strings.Join(id, "|")
		if before, ok := rows[k]; ok {
			if diff := cmp.Diff(before, row); diff != "" {
				t.Fatalf("key %s twice:\n%s", k, diff)
			}
		}
		rows[k] = row
	}
	return rows
}

// read reads a stream over HTTP as a careful reader would, in the window of one
// day for window streams.
func (c *client) read(stream string, since, until time.Time) []map[string]any {
	c.t.Helper()
	last := until.Add(-time.Second) // the sandbox includes both bounds
	dates := url.Values{"from_date": {since.Format(time.DateTime)}, "to_date": {last.Format(time.DateTime)}}.Encode()
	customers := func(path, key string, add bool) (all []map[string]any) {
		for _, customer := range c.pages("customers", "customers") {
			id := customer["customer_id"]
			for _, row := range c.list(fmt.Sprintf("%s?customer_id=%s&%s", path, id, dates), key) {
				if add {
					row["customer_id"] = id
				}
				all = append(all, row)
			}
		}
		return all
	}
	switch stream {
	case "customers":
		return c.pages("customers", "customers")
	case "sources":
		var all []map[string]any
		for _, status := range []string{"upcoming", "reserved", "active", "extended", "quarantined", "archived"} {
			for _, class := range []string{"0", "1"} {
				all = append(all, c.pages("sources?status="+status+"&class="+class, "sources")...)
			}
		}
		return all
	case "users":
		all := c.list("users", "users")
		for _, u := range all {
			delete(u, "token")
		}
		return all
	case "campaigns":
		return customers("customers/campaigns", "campaigns", true)
	case "voicemail_greetings":
		return customers("customers/voicemail_greetings", "voicemail_greetings", false)
	case "recordings":
		return customers("recordings", "recordings", true)
	case "callbacks":
		return customers("customers/callbacks", "callbacks", false)
	case "confirmation_callbacks":
		return customers("customers/confirmationcallback", "confirmationcallback", false)
	case "cdrs_in":
		return c.pages("statistics/cdrs?extended=1&pagesize=50&"+dates, "cdrs")
	case "cdrs_out":
		return c.pages("statistics/cdrs_out?extended=1&pagesize=50&"+dates, "cdrs")
	case "pincodes":
		var all []map[string]any
		for page := 0; ; page++ {
			chunk := c.list(fmt.Sprintf("customers/pincodes?page=%d", page), "pincodes")
			if all = append(all, chunk...); len(chunk) < 1000 {
				return all
			}
		}
	case "customer_orders":
		return c.list("customer_orders", "customer_orders")
	case "source_statuses":
		return c.list("sources/statuses", "statuses")
	case "blacklist":
		return c.numbers("blacklist", nil)
	case "customer_blacklist":
		var all []map[string]any
		for _, customer := range c.pages("customers", "customers") {
			id := customer["customer_id"]
			all = append(all, c.numbers(fmt.Sprintf("customers/blacklist?customer_id=%s", id), id)...)
		}
		return all
	}
	c.t.Fatalf("no reader for %s", stream)
	return nil
}

func (c *client) numbers(path string, customer any) (all []map[string]any) {
	for _, number := range c.get(path)["blacklist"].([]any) {
		row := map[string]any{"number": number}
		if customer != nil {
			row["customer_id"] = customer
		}
		all = append(all, row)
	}
	return all
}

var keys = map[string][]string{
	"customers": {"customer_id"}, "sources": {"source_id"}, "users": {"user_id"}, "campaigns": {"campaign_id"},
	"voicemail_greetings": {"vm_greeting_id"}, "cdrs_in": {"cdr_id"}, "cdrs_out": {"cdr_id"}, "recordings": {"recording_id"},
	"callbacks": {"id"}, "confirmation_callbacks": {"id"}, "pincodes": {"pincode_id"}, "customer_orders": {"customer_id", "order_id"},
	"source_statuses": {"source_id", "service"}, "customer_blacklist": {"customer_id", "number"}, "blacklist": {"number"},
	"widget_daily": {"type", "customer_id", "date", "name"},
}

func TestWhatIsReadOverHTTPIsTheTruth(t *testing.T) {
	t.Parallel()
	windows := map[string][2]time.Time{
		"a past day":    {asOf.AddDate(0, 0, -2).Truncate(24 * time.Hour), asOf.AddDate(0, 0, -1).Truncate(24 * time.Hour)},
		"today":         {asOf.Truncate(24 * time.Hour), asOf.AddDate(0, 0, 1).Truncate(24 * time.Hour)},
		"the last hour": {asOf.Add(-time.Hour), asOf},
	}
	for _, size := range []int{1, 30} {
		c := start(t, func(o *sandbox.Options) { o.Size, o.Days = size, 4 })
		for name, w := range windows {
			for _, stream := range kaisa.Streams {
				if stream == "widget_daily" {
					continue // its own test, for its own shape
				}
				want := table(t, slices.Collect(c.box.KaisaTruth(stream, w[0], w[1])), keys[stream]...)
				got := table(t, c.read(stream, w[0], w[1]), keys[stream]...)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("size %d, %s of %s (-truth +read):\n%s", size, stream, name, diff)
				}
				if size == 30 && name == "a past day" && len(want) == 0 {
					t.Errorf("%s is empty", stream)
				}
			}
		}
	}
}

func TestWidgetTruthIsWhatTheWidgetsAnswer(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Size = 3 })
	day := asOf.AddDate(0, 0, -1).Truncate(24 * time.Hour)
	rows := table(t, slices.Collect(c.box.KaisaTruth("widget_daily", day, day.AddDate(0, 0, 1))), keys["widget_daily"]...)
	checked := 0
	for _, row := range rows {
		query := url.Values{"type": {row["type"].(string)}, "from_date": {"2026-03-10"}, "to_date": {"2026-03-10"}}
		if id := row["customer_id"].(string); id != "0" {
			query.Set("customer_id", id)
		}
		body := c.raw("widgets/data?" + query.Encode()).body
		var want string
		switch {
		case row["value"] == nil:
			want = fmt.Sprintf(`{"name":"%s","Answered":"%s","Missed":"%s"}`, row["name"], row["answered"], row["missed"])
		case row["name"] == "":
			want = fmt.Sprintf(`"data":%s}`, row["value"])
			body = strings.ReplaceAll(body, `"data":"`, `"data":`)
			body = strings.ReplaceAll(body, `"}`, `}`)
		default:
			continue // names with escapes are compared as records elsewhere
		}
		if !strings.Contains(body, want) {
			t.Errorf("%v\nwant %s in %.300s", row, want, body)
		}
		checked++
	}
	if checked < 3*(24+1+5) {
		t.Errorf("%d rows checked", checked)
	}
}

func TestTruthOfWindowsAddsUpToTheTruthOfAll(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Size, o.Days = 8, 2 })
	for _, stream := range []string{"cdrs_in", "cdrs_out", "callbacks", "confirmation_callbacks", "widget_daily"} {
		whole := table(t, slices.Collect(c.box.KaisaTruth(stream, time.Time{}, time.Time{})), keys[stream]...)
		parts := map[string]map[string]any{}
		for d := c.box.Begin(); d.Before(asOf.AddDate(0, 0, 35)); d = d.Add(11 * time.Hour) {
			part := table(t, slices.Collect(c.box.KaisaTruth(stream, d, d.Add(11*time.Hour))), keys[stream]...)
			for key := range part {
				if _, ok := parts[key]; ok {
					t.Fatalf("%s: %s lies in two windows", stream, key)
				}
			}
			maps.Copy(parts, part)
		}
		if diff := cmp.Diff(whole, parts); diff != "" || len(whole) == 0 {
			t.Errorf("%s: %d rows (-whole +parts):\n%s", stream, len(whole), diff)
		}
	}
}

func TestTheSameSeedGivesTheSameBytesAndAnotherSeedOthers(t *testing.T) {
	t.Parallel()
	paths := []string{
		"customers", "sources", "users", "statistics/cdrs?extended=1", "statistics/cdrs_out", "customers/pincodes",
		"customer_orders", "recordings?customer_id=500101", "customers/callbacks?customer_id=500101", "widgets/data?type=geographic_origin",
	}
	small := func(o *sandbox.Options) { o.Days = 6 }
	one, two := start(t, small), start(t, small)
	other := start(t, small, func(o *sandbox.Options) { o.Seed = 2 })
	// The order of asking must not matter.
	for _, path := range slices.Backward(paths) {
		two.raw(path)
	}
	for _, path := range paths {
		body := one.raw(path).body
		if body != two.raw(path).body {
			t.Errorf("%s: two sandboxes with the same seed differ", path)
		}
		if body == other.raw(path).body {
			t.Errorf("%s: another seed gives the same", path)
		}
	}
}

func TestAdvancingTheSimulatedNowRestatesThePast(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Size, o.Days = 40, 3 })
	day := asOf.AddDate(0, 0, -1).Truncate(24 * time.Hour)
	read := func(stream string) map[string]map[string]any {
		return table(t, c.read(stream, day, day.AddDate(0, 0, 1)), keys[stream]...)
	}
	before := map[string]map[string]map[string]any{}
	streams := []string{"customers", "sources", "users", "campaigns", "cdrs_in", "callbacks", "customer_orders", "pincodes", "customer_blacklist"}
	for _, stream := range streams {
		before[stream] = read(stream)
	}
	if err := c.box.SetAsOf(asOf.AddDate(0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	changes := func(stream string) (changed, vanished, appeared int, fields map[string]bool) {
		after, fields := read(stream), map[string]bool{}
		for key, row := range before[stream] {
			now, ok := after[key]
			if !ok {
				vanished++
				continue
			}
			differs := false
			for name := range row {
				if !cmp.Equal(row[name], now[name]) {
					fields[name], differs = true, true
				}
			}
			if differs {
				changed++
			}
		}
		for key := range after {
			if _, ok := before[stream][key]; !ok {
				appeared++
			}
		}
		return changed, vanished, appeared, fields
	}
	for stream, want := range map[string]struct {
		changed, vanished, appeared bool
		fields                      []string
	}{
		"customers":          {true, true, true, []string{"name"}},
		"sources":            {true, true, true, []string{"status", "modified"}},
		"users":              {false, true, true, nil},
		"campaigns":          {true, true, true, []string{"state"}},
		"cdrs_in":            {true, false, false, []string{"order_id", "duration", "duration_adjusted"}},
		"callbacks":          {false, true, false, nil},
		"customer_orders":    {false, false, true, nil},
		"pincodes":           {true, false, true, []string{"cdr_id"}},
		"customer_blacklist": {false, true, true, nil},
	} {
		changed, vanished, appeared, fields := changes(stream)
		if (changed > 0) != want.changed || (vanished > 0) != want.vanished || (appeared > 0) != want.appeared {
			t.Errorf("%s of %d rows: %d changed, %d vanished, %d appeared, want %+v", stream, len(before[stream]), changed, vanished, appeared, want)
		}
		for _, name := range want.fields {
			if !fields[name] {
				t.Errorf("%s: no %s has changed", stream, name)
			}
		}
	}
}

func TestARecordingAppearsAfterTheCallAndTheCallAfterItsEnd(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Size, o.Days = 40, 3 })
	hour := func() map[string]map[string]any {
		return table(t, c.read("cdrs_in", asOf.Add(-time.Hour), asOf), "cdr_id")
	}
	early := hour()
	for _, at := range []time.Duration{40 * time.Minute, 3 * time.Hour} {
		if err := c.box.SetAsOf(asOf.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	late := hour()
	recorded := 0
	for id, call := range early {
		if late[id] == nil {
			t.Errorf("call %s has vanished", id)
		} else if call["recording_id"] == nil && late[id]["recording_id"] != nil {
			recorded++
		}
	}
	if recorded == 0 || len(late) <= len(early) {
		t.Errorf("%d recordings and %d calls came later", recorded, len(late)-len(early))
	}
	// Back again: nothing depends on what was asked before.
	if err := c.box.SetAsOf(asOf); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(early, hour()); diff != "" {
		t.Error(diff)
	}
}

func TestACallbackCompletesOnceItsTimeHasCome(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Days = 8 })
	tomorrow := asOf.AddDate(0, 0, 1)
	created := 0 // between the two moments, for a day that both see
	for _, stream := range []string{"callbacks", "confirmation_callbacks"} {
		if err := c.box.SetAsOf(asOf); err != nil {
			t.Fatal(err)
		}
		before := table(t, c.read(stream, tomorrow, tomorrow.AddDate(0, 0, 1)), "id")
		if err := c.box.SetAsOf(asOf.AddDate(0, 0, 4)); err != nil {
			t.Fatal(err)
		}
		completed, called := 0, 0
		for id, row := range table(t, c.read(stream, tomorrow, tomorrow.AddDate(0, 0, 1)), "id") {
			if before[id] == nil {
				created++
				continue
			}
			if row["completed"] == "0" {
				continue
			}
			if before[id]["completed"] != "0" || before[id]["cdr_id"] != nil {
				t.Errorf("%s: %s was complete before its time", stream, id)
			}
			completed++
			if row["cdr_id"] != nil {
				called++
			}
		}
		if completed == 0 || called == 0 {
			t.Errorf("%s: %d completed, %d with a call", stream, completed, called)
		}
	}
	if created == 0 {
		t.Error("none was created later")
	}
}

func TestAMillionCallsOfADayCanBePagedFromAnywhere(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Size, o.Volume = 100, 1000 })
	const day = "statistics/cdrs?from_date=2026-03-10%2000:00:00&to_date=2026-03-10%2023:59:59&page="
	first := c.get(day + "0")
	pages := int(first["numpages"].(float64))
	if total := first["total"].(float64); total < 1e6 {
		t.Fatalf("%.0f calls, want a million", total)
	}
	middle, next := c.list(day+fmt.Sprint(pages/2), "cdrs"), c.list(day+fmt.Sprint(pages/2+1), "cdrs")
	if len(middle) != 1000 || middle[999]["start"].(string) > next[0]["start"].(string) {
		t.Errorf("pages do not follow on each other: %v, %v", middle[999]["start"], next[0]["start"])
	}
	last := c.list(day+fmt.Sprint(pages-1), "cdrs")
	if want := int(first["total"].(float64)) - 1000*(pages-1); len(last) != want {
		t.Errorf("%d calls on the last page, want %d", len(last), want)
	}
}
