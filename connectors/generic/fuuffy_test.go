package generic

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/fuuffy"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// The tests named Fuuffy are the cases that the vendor's fact sheet lists for a
// fake server, in its order.

func TestFuuffy01TokenInsideDataAndDataAsJSONString(t *testing.T) {
	t.Parallel()
	for _, asString := range []bool{false, true} {
		_, src := openSandbox(t, sandbox.Options{Fuuffy: simulated.Options{DataAsString: asString}}, nil)
		token, err := src.(connector.Tokener).Token(t.Context(), "")
		if err != nil || token.Type != "Bearer" || !strings.HasPrefix(token.Value.Reveal(), "sandbox.") || !strings.HasSuffix(token.BaseURL, "/fuuffy/v1") {
			t.Errorf("data as string %t: type %q for %q, %v", asString, token.Type, token.BaseURL, err)
		}
		if left := time.Until(token.ExpiresAt); left < 59*time.Minute || left > time.Hour {
			t.Errorf("data as string %t: the token lives %s", asString, left)
		}
	}
}

func TestFuuffy02GrantTypeSentAndNotSent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		vendor, setting string
		kind            connector.Kind
	}{
		{"required", "send", connector.KindUnknown},
		{"refused", "omit", connector.KindUnknown},
		{"", "send", connector.KindUnknown},
		{"", "omit", connector.KindUnknown},
		{"required", "omit", connector.KindConfig},
		{"refused", "send", connector.KindConfig},
	} {
		_, src := openSandbox(t, sandbox.Options{Fuuffy: simulated.Options{GrantType: tc.vendor}}, map[string]any{"grant_type": tc.setting})
		_, err := src.(connector.Tokener).Token(t.Context(), "")
		if connector.KindOf(err) != tc.kind {
			t.Errorf("vendor %q, setting %q: %v", tc.vendor, tc.setting, err)
		}
	}
}

func TestFuuffy03UnauthorizedHasTwoMeanings(t *testing.T) {
	t.Parallel()
	orders := connector.Request{Stream: "orders", Window: march}

	t.Run("final at the token endpoint", func(t *testing.T) {
		t.Parallel()
		v := newVendor(t)
		v.grant = func(string) (int, string) {
			return 401, `{"error":{"code":"401021","code_reason":"invalid_client","message":"Invalid client_id, client_secret, or session_key"}}`
		}
		_, err := pull(t, v.open(t, nil), orders)
		if connector.KindOf(err) != connector.KindAuth {
			t.Errorf("error %v", err)
		}
		wantRequests(t, v, tokenRequest)
	})
	t.Run("one renewal for data", func(t *testing.T) {
		t.Parallel()
		v := newVendor(t)
		v.answers[firstPage] = []string{"401\n" + `{"error":{"code":"401000","code_reason":"UNAUTHORIZED","message":"Unauthorized"}}`, oneOrder}
		out, err := pull(t, v.open(t, nil), orders)
		if err != nil || len(out.records) != 1 {
			t.Errorf("%d records, %v", len(out.records), err)
		}
		wantRequests(t, v, tokenRequest, firstPage, tokenRequest, firstPage)
	})
	t.Run("not two", func(t *testing.T) {
		t.Parallel()
		v := newVendor(t)
		v.answers[firstPage] = []string{"401\n" + `{"error":{"code":"invalid_token","message":"The access token expired"}}`}
		_, err := pull(t, v.open(t, nil), orders)
		if connector.KindOf(err) != connector.KindAuth {
			t.Errorf("error %v", err)
		}
		wantRequests(t, v, tokenRequest, firstPage, tokenRequest, firstPage)
	})
	t.Run("final for data if the code says so", func(t *testing.T) {
		t.Parallel()
		v := newVendor(t)
		v.answers[firstPage] = []string{"401\n" + `{"code":"401021","code_reason":"invalid_client_id_or_client_secret","message":"` + secretCanary + `"}`}
		_, err := pull(t, v.open(t, nil), orders)
		if connector.KindOf(err) != connector.KindAuth || !strings.Contains(err.Error(), "401021") {
			t.Errorf("error %v", err)
		}
		wantRequests(t, v, tokenRequest, firstPage)
	})
}

func TestFuuffy04ErrorBodiesOfEveryShape(t *testing.T) {
	t.Parallel()
	for _, shape := range []simulated.ErrorShape{
		simulated.ErrorNested, simulated.ErrorFlat, simulated.ErrorText, simulated.ErrorPlain, simulated.ErrorEmpty, simulated.ErrorHTML,
	} {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel()
			box, src := openSandbox(t, sandbox.Options{
				Fuuffy: simulated.Options{Errors: shape},
				Faults: []sandbox.Fault{{Kind: sandbox.FaultUnauthorized, Path: "/order/list", Count: 1}},
			}, nil)
			if _, err := pull(t, src, lastDays(box, 7)); err != nil {
				t.Errorf("a 401 is not survived: %v", err)
			}
			// A 404 of an order is left out where the code can be read.
			_, err := pull(t, src, connector.Request{Stream: "order_details", AsOf: box.AsOf(), Cursor: cursorOf(t, box.AsOf(), "1")})
			readable := shape == simulated.ErrorNested || shape == simulated.ErrorFlat
			if readable && err != nil || !readable && connector.KindOf(err) != connector.KindBadResponse {
				t.Errorf("404: %v", err)
			}
			_, src = openSandbox(t, sandbox.Options{Fuuffy: simulated.Options{Errors: shape}}, map[string]any{"client_secret": "wrong"})
			if _, err := src.(connector.Tokener).Token(t.Context(), ""); connector.KindOf(err) != connector.KindAuth {
				t.Errorf("wrong secret: %v", err)
			}
		})
	}
	// The codes decide whatever the shape.
	a := shownPreset()
	for body, want := range map[string]errorFacts{
		`{"error":{"code":"401000","code_reason":"UNAUTHORIZED","message":"m"}}`: {Code: "401000", Reason: "UNAUTHORIZED", Message: "m"},
		`{"code":"500999","code_reason":"API_ERROR","message":"m"}`:              {Code: "500999", Reason: "API_ERROR", Message: "m"},
		`{"code":400000}`:         {Code: "400000"},
		`{"error":"forbidden"}`:   {Message: "forbidden"},
		`{"error":["forbidden"]}`: {},
		`["x"]`:                   {},
		`<html>`:                  {},
		``:                        {},
	} {
		if diff := cmp.Diff(want, a.facts(response(0, body))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func TestFuuffy05BaseURLWithAndWithoutPrefix(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", "/", "/v1", "/v1/"} {
		v := newVendor(t)
		v.answers[firstPage] = []string{oneOrder}
		_, err := pull(t, v.open(t, map[string]any{"base_url": v.server.URL + suffix}), connector.Request{Stream: "orders", Window: march})
		if err != nil {
			t.Errorf("%q: %v", suffix, err)
		}
		wantRequests(t, v, tokenRequest, firstPage)
	}
	for base, want := range map[string]string{
		"https://host":        "https://host/v1",
		"https://host/v1":     "https://host/v1",
		"https://v1":          "https://v1/v1",
		"https://host/api/v1": "https://host/api/v1",
		"https://host/v1/x":   "https://host/v1/x/v1",
	} {
		if got := withPrefix(base, "/v1"); got != want {
			t.Errorf("withPrefix(%q) = %q, want %q", base, got, want)
		}
	}
}

func TestFuuffy06PagesOfAHundred(t *testing.T) {
	t.Parallel()
	for orders, wantPages := range map[int]int{0: 1, 99: 1, 100: 2, 101: 2} {
		v := newVendor(t)
		v.handle = func(w http.ResponseWriter, r *http.Request) {
			page, _ := strconv.Atoi(r.URL.Query().Get("page"))
			var rows []string
			for i := (page - 1) * 100; i < min(page*100, orders); i++ {
				rows = append(rows, fmt.Sprintf(`{"order_id":"%d","create_time":"2025-03-04T00:00:00+08:00"}`, 9000000+i))
			}
			fmt.Fprintf(w, `{"data":{"order_list":[%s]}}`, strings.Join(rows, ","))
		}
		out, err := pull(t, v.open(t, nil), connector.Request{Stream: "orders", Window: march})
		if err != nil || len(out.records) != orders || len(v.seen()) != 1+wantPages {
			t.Errorf("%d orders: %d records, requests %q, %v", orders, len(out.records), v.seen(), err)
		}
	}
}

func TestFuuffy07OrdersThatArriveWhilePaging(t *testing.T) {
	t.Parallel()
	ids := []int{}
	for i := range 150 {
		ids = append(ids, 9000000+i)
	}
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("sort_key") != "order_id" || q.Get("sort_dir") != "ASC" {
			http.Error(w, "unsorted", http.StatusTeapot)
			return
		}
		page, _ := strconv.Atoi(q.Get("page"))
		begin := min((page-1)*100, len(ids))
		var rows []string
		for _, id := range ids[begin:min(begin+100, len(ids))] {
			rows = append(rows, fmt.Sprintf(`{"order_id":"%d","create_time":"2025-03-04T00:00:00+08:00"}`, id))
		}
		ids = append(ids, ids[len(ids)-1]+1)
		fmt.Fprintf(w, `{"data":{"order_list":[%s]}}`, strings.Join(rows, ","))
	}
	out, err := pull(t, v.open(t, nil), connector.Request{Stream: "orders", Window: march})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, raw := range out.records {
		seen[raw] = true
	}
	if len(out.records) != 151 || len(seen) != 151 { // the 150 and the one that came after the first page
		t.Errorf("%d records, %d different", len(out.records), len(seen))
	}
}

func TestFuuffy08OldOrdersAreReadAgainByKey(t *testing.T) {
	t.Parallel()
	box, src := openSandbox(t, sandbox.Options{Days: 100, Size: 4}, nil)
	first, err := pull(t, src, connector.Request{Stream: "order_details", AsOf: box.AsOf()})
	if err != nil {
		t.Fatal(err)
	}
	// Orders of 60 days ago and more that were open then and change in a month.
	before := statuses(box, box.AsOf())
	old := box.AsOf().AddDate(0, 0, -60)
	if err := box.SetAsOf(box.AsOf().AddDate(0, 0, 30)); err != nil {
		t.Fatal(err)
	}
	after := statuses(box, old)
	changed := 0
	for id, status := range after {
		if before[id] != status {
			changed++
		}
	}
	if changed == 0 {
		t.Fatal("no old order changes: the test proves nothing")
	}
	again, err := pull(t, src, connector.Request{Stream: "order_details", AsOf: box.AsOf(), Cursor: first.cursors[len(first.cursors)-1]})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, raw := range slices.Concat(first.records, again.records) { // the last one wins
		got[scalarText(rest.Field([]byte(raw), "order_id"))] = scalarText(rest.Field([]byte(raw), "status"))
	}
	if diff := cmp.Diff(statuses(box, box.AsOf()), got); diff != "" {
		t.Errorf("statuses after both pulls (-want +got):\n%s", diff)
	}
	if len(again.records) >= len(got) {
		t.Errorf("%d of %d orders were read again: final ones too", len(again.records), len(got))
	}
}

// statuses are those of the orders created before a moment, by id.
func statuses(box *sandbox.Sandbox, until time.Time) map[string]string {
	all := map[string]string{}
	for o := range box.FuuffyTruth("orders", time.Time{}, until) {
		all[o["order_id"].(string)] = o["order_status"].(string)
	}
	return all
}

func TestFuuffy09RateWindowsAndHeaders(t *testing.T) {
	t.Parallel()
	t.Run("two windows at once", func(t *testing.T) {
		t.Parallel()
		cfg, a, err := parse(connector.NewConfig(json.RawMessage(`{"preset":"fuuffy","client_id":"a","client_secret":"b"}`)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range cfg.rate(a) {
			got = append(got, fmt.Sprintf("%d per %s", w.Requests, w.Per))
		}
		if diff := cmp.Diff([]string{"100 per 1m0s", "1000 per 1h0m0s"}, got); diff != "" {
			t.Error(diff)
		}
	})
	header := func(remaining, reset, date string) http.Header {
		h := http.Header{}
		for name, value := range map[string]string{"X-Ratelimit-Remaining": remaining, "X-Ratelimit-Reset": reset, "Date": date} {
			if value != "" {
				h.Set(name, value)
			}
		}
		return h
	}
	const vendorNow = "Sat, 15 Jan 2022 12:09:00 GMT" // a minute before 1642248600
	for name, tc := range map[string]struct {
		status int
		header http.Header
		want   time.Duration
	}{
		"none left":                {200, header("0", "1642248600", vendorNow), time.Minute},
		"some left":                {200, header("1", "1642248600", vendorNow), 0},
		"reset in the past":        {200, header("0", "1642248500", vendorNow), 0},
		"no reset":                 {200, header("0", "", vendorNow), 0},
		"no headers":               {200, header("", "", ""), 0},
		"nonsense":                 {200, header("none", "soon", vendorNow), 0},
		"429 without the number":   {429, header("", "1642248600", vendorNow), time.Minute},
		"429 with the past":        {429, header("0", "1642248500", vendorNow), 0},
		"a reset next year":        {200, header("0", "1673784600", vendorNow), 0},
		"no date, by our own time": {200, header("0", "946684830", ""), 30 * time.Second}, // synctest begins at 2000-01-01
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &gate{spec: shownPreset().Rate}
				g.note(tc.status, tc.header)
				start := time.Now()
				if err := g.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got != tc.want {
					t.Errorf("waited %s, want %s", got, tc.want)
				}
			})
		})
	}
	t.Run("a long wait is the agent's", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := &gate{spec: shownPreset().Rate}
			g.note(200, header("0", "1642252200", vendorNow)) // an hour and a minute
			err := g.wait(t.Context())
			if connector.KindOf(err) != connector.KindRateLimited || connector.RetryAfterOf(err) != time.Hour+time.Minute {
				t.Errorf("error %v, retry after %s", err, connector.RetryAfterOf(err))
			}
		})
	})
	t.Run("none is sent that the vendor would refuse", func(t *testing.T) {
		t.Parallel()
		v := newVendor(t)
		v.answers[firstPage] = []string{oneOrder}
		maps.Copy(v.header, header("0", "1642252200", vendorNow))
		src := v.open(t, nil)
		req := connector.Request{Stream: "orders", Window: march}
		if _, err := pull(t, src, req); err != nil {
			t.Fatal(err)
		}
		if _, err := pull(t, src, req); connector.KindOf(err) != connector.KindRateLimited {
			t.Errorf("error %v", err)
		}
		wantRequests(t, v, tokenRequest, firstPage)
	})
	t.Run("429 says how long", func(t *testing.T) {
		t.Parallel()
		v := newVendor(t)
		v.answers[firstPage] = []string{"429\n" + `{"error":{"code":"rate_limit_exceeded","message":"slow down"}}`}
		maps.Copy(v.header, header("0", "1642252200", vendorNow))
		_, err := pull(t, v.open(t, nil), connector.Request{Stream: "orders", Window: march})
		if connector.KindOf(err) != connector.KindRateLimited || connector.RetryAfterOf(err) != time.Hour+time.Minute {
			t.Errorf("error %v, retry after %s", err, connector.RetryAfterOf(err))
		}
		wantRequests(t, v, tokenRequest, firstPage)
	})
}

func TestFuuffy10AManifestThatWouldConfirmAnOrderIsRefused(t *testing.T) {
	t.Parallel()
	manifest := minimal(`
read_only_post: [/rates/get]
streams:
  - name: confirmed
    path: /order/confirm
    method: POST
    record: data
    key: [order_id]
    columns: [{name: order_id, type: text}]
`)
	_, err := parseManifest([]byte(manifest))
	want := "line 10: streams[0].method: POST /order/confirm is not declared read-only: " +
		"nothing is sent that could change something at the vendor; list the path under read_only_post if it only reads"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "post"} {
		if _, err := parseManifest([]byte(strings.Replace(manifest, "POST", method, 1))); err == nil || !strings.Contains(err.Error(), "line 10: ") {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestFuuffy11DecimalsAndOffsetsLandAsTheyAre(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.answers[firstPage] = []string{oneOrder}
	src := v.open(t, nil)
	out, err := pull(t, src, connector.Request{Stream: "orders", Window: march})
	if err != nil || len(out.records) != 1 {
		t.Fatalf("%d records, %v", len(out.records), err)
	}
	streams, err := src.Streams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := landed(t, streams[0], out.records[0])
	for name, typ := range map[string]connector.Type{
		"order_id": connector.TypeText, "quote_price": connector.TypeNumeric, "create_time": connector.TypeTimestamp,
	} {
		if c, _ := streams[0].Column(name); c.Type != typ {
			t.Errorf("%s is a %s", name, c.Type)
		}
	}
	for name, want := range map[string]string{
		"order_id": "9000001", "quote_price": "28.50", "create_time": "2025-03-04T09:28:55Z",
	} {
		if got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
}

func TestFuuffy12PersonalDataIsDroppedOrHashed(t *testing.T) {
	t.Parallel()
	const answer = `{"data":{"order_id":"1","status":"COMPLETED","sender":{"name":"Canary","mobile":5550100,"email":"","vip":null},"recipient":"Canary"}}`
	for name, tc := range map[string]struct {
		settings map[string]any
		want     map[string]any
		columns  int
	}{
		"keep": {nil, map[string]any{
			"order_id": "1", "status": "COMPLETED", "recipient": "Canary",
			"sender": map[string]any{"name": "Canary", "mobile": 5550100.0, "email": "", "vip": nil},
		}, 10},
		"drop": {map[string]any{"personal_data": "drop"}, map[string]any{"order_id": "1", "status": "COMPLETED"}, 8},
		"hash": {map[string]any{"personal_data": "hash"}, map[string]any{
			"order_id": "1", "status": "COMPLETED", "recipient": sha("", "Canary"),
			"sender": map[string]any{"name": sha("", "Canary"), "mobile": sha("", "5550100"), "email": "", "vip": nil},
		}, 10},
		"hash with salt": {map[string]any{"personal_data": "hash", "hash_salt": "pepper"}, map[string]any{
			"order_id": "1", "status": "COMPLETED", "recipient": sha("pepper", "Canary"),
			"sender": map[string]any{"name": sha("pepper", "Canary"), "mobile": sha("pepper", "5550100"), "email": "", "vip": nil},
		}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t)
			v.handle = func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/order/list" {
					_, _ = io.WriteString(w, `{"data":{"order_list":[]}}`)
					return
				}
				_, _ = io.WriteString(w, answer)
			}
			src := v.open(t, tc.settings)
			out, err := pull(t, src, connector.Request{Stream: "order_details", AsOf: march.Until, Cursor: cursorOf(t, march.Since, "1")})
			if err != nil || len(out.records) != 1 {
				t.Fatalf("%d records, %v", len(out.records), err)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(out.records[0]), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			streams, err := src.Streams(t.Context())
			if err != nil || len(streams[1].Columns) != tc.columns {
				t.Errorf("%d columns, want %d; %v", len(streams[1].Columns), tc.columns, err)
			}
		})
	}
}

// sha is what a hashed text must be, by other means than the connector's.
func sha(salt, text string) string {
	if salt == "" {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	}
	mac := hmac.New(sha256.New, []byte(salt))
	_, _ = io.WriteString(mac, text)
	return fmt.Sprintf("%x", mac.Sum(nil))
}

func response(status int, body string) *rest.Response {
	return &rest.Response{Status: status, Body: []byte(body), Header: http.Header{}}
}
