package sandbox_test

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox"
)

func TestNumbersComeAsTextAndAbsentTextsAsBothEmptyAndNull(t *testing.T) {
	t.Parallel()
	c := start(t)
	seen := map[string]bool{}
	for _, customer := range c.list("customers", "customers") {
		if _, err := strconv.Atoi(customer["customer_id"].(string)); err != nil {
			t.Fatal(err)
		}
		seen["customer email is empty"] = seen["customer email is empty"] || customer["email"] == ""
		seen["name beyond ASCII"] = seen["name beyond ASCII"] || regexp.MustCompile(`[^ -~]`).MatchString(customer["name"].(string))
	}
	for _, source := range c.list("sources", "sources") {
		seen["source email is null"] = seen["source email is null"] || source["email"] == nil
		seen["expire is null"] = seen["expire is null"] || source["expire"] == nil
		if flag := source["vm_divert_all"]; flag != "0" && flag != "1" {
			t.Errorf("vm_divert_all is %v", flag)
		}
		if at := source["created"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`).MatchString(at) {
			t.Errorf("created is %q", at)
		}
		if !regexp.MustCompile(`^\+\d{8,14}$`).MatchString(source["destnr"].(string)) {
			t.Errorf("destnr is %q, want E.164", source["destnr"])
		}
	}
	for what, was := range seen {
		if !was {
			t.Errorf("never seen: %s", what)
		}
	}
	if body := c.raw("sources").body; !strings.Contains(body, `\u`) {
		t.Error("sources do not escape what is beyond ASCII")
	}
}

func TestMetadataIsNumbersOrTextByOption(t *testing.T) {
	t.Parallel()
	c := start(t)
	if body := c.raw("customers").body; !regexp.MustCompile(`^\{"total":\d+,"page":0,"pagesize":1000,"numpages":1,"customers":\[\{`).MatchString(body) {
		t.Errorf("%.90s", body)
	}
	text := start(t, func(o *sandbox.Options) { o.Kaisa.TextMetadata = true })
	if body := text.raw("customers").body; !regexp.MustCompile(`^\{"total":"\d+","page":"0","pagesize":"1000","numpages":"1",`).MatchString(body) {
		t.Errorf("%.90s", body)
	}
}

func TestOneRecordIsAnArrayOfOneByPathAndByParameter(t *testing.T) {
	t.Parallel()
	c := start(t)
	first := c.list("customers", "customers")[0]["customer_id"].(string)
	source := c.list("sources?customer_id="+first, "sources")[0]["source_id"].(string)
	for _, path := range []string{"customers/" + first, "customers?customer_id=" + first} {
		if all := c.list(path, "customers"); len(all) != 1 || all[0]["customer_id"] != first {
			t.Errorf("%s: %v", path, all)
		}
	}
	for _, path := range []string{"sources/" + source, "sources?source_id=" + source} {
		if all := c.list(path, "sources"); len(all) != 1 || all[0]["source_id"] != source {
			t.Errorf("%s: %v", path, all)
		}
	}
	if all := c.list("customers?customer_id=1", "customers"); len(all) != 0 {
		t.Errorf("an unknown id gave %v, want an empty list", all)
	}
}

func TestSubResourcesHaveTwoSpellings(t *testing.T) {
	t.Parallel()
	c := start(t)
	customer := c.list("customers", "customers")[0]["customer_id"].(string)
	for _, pair := range [][2]string{
		{"customers/" + customer + "/voicemail_greetings", "customers/voicemail_greetings?customer_id=" + customer},
		{"customers/" + customer + "/voicemail_greetings/2", "customers/voicemail_greetings?customer_id=" + customer + "&vm_greeting_id=2"},
		{"customers/" + customer + "/blacklist", "customers/blacklist?customer_id=" + customer},
		{"customers/" + customer + "/callbacks", "customers/callbacks?customer_id=" + customer},
	} {
		path, query := c.raw(pair[0]), c.raw(pair[1])
		if path.status != 200 || path.body != query.body {
			t.Errorf("%s: %d %.80s\n%s: %d %.80s", pair[0], path.status, path.body, pair[1], query.status, query.body)
		}
	}
}

func TestSourcesAreListedByStatusAndClass(t *testing.T) {
	t.Parallel()
	c := start(t)
	counts := map[string]int{}
	for _, status := range []string{"active", "upcoming", "reserved", "quarantined", "archived", "extended"} {
		for _, class := range []string{"0", "1"} {
			for _, s := range c.list("sources?status="+status+"&class="+class, "sources") {
				if s["status"] != status || s["class"] != class {
					t.Fatalf("asked for %s and class %s, got %v and %v", status, class, s["status"], s["class"])
				}
				counts[status]++
				counts["class "+class]++
			}
		}
	}
	for _, want := range []string{"active", "upcoming", "quarantined", "archived", "class 0", "class 1"} {
		if counts[want] == 0 {
			t.Errorf("no source is %s: %v", want, counts)
		}
	}
	for _, s := range c.list("sources", "sources") {
		if s["status"] != "active" || s["class"] != "0" {
			t.Errorf("the list without filters has %v and class %v", s["status"], s["class"])
		}
	}
	other := start(t, func(o *sandbox.Options) { o.Kaisa.UnfilteredSources = []string{"archived", "quarantined"} })
	for _, s := range other.list("sources", "sources") {
		if s["status"] == "active" {
			t.Error("the list without filters has an active source, although the option says otherwise")
		}
	}
}

func TestAudioComesOnlyWithOneRecordingOrGreeting(t *testing.T) {
	t.Parallel()
	c := start(t)
	customer := c.list("customers", "customers")[0]["customer_id"].(string)
	all := c.list("recordings?customer_id="+customer, "recordings")
	if len(all) == 0 {
		t.Fatal("no recordings")
	}
	for _, r := range all {
		if _, ok := r["sounddata"]; ok {
			t.Fatal("sounddata in a list")
		}
	}
	last := all[len(all)-1]
	one := c.list("recordings?recording_id="+last["recording_id"].(string), "recordings")
	if len(one) != 1 || one[0]["recording_id"] != last["recording_id"] || one[0]["expired"] != "0" || one[0]["sounddata"] == nil {
		t.Errorf("one recording: %v", one)
	}
	if none := c.list("recordings/6d1f0c7e-2f5a-4b7e-9a31-7c0e5d2b4f88", "recordings"); len(none) != 0 {
		t.Errorf("an unknown recording: %v", none)
	}
	for path, want := range map[string]bool{"": false, "/1": true} {
		for _, g := range c.list("customers/"+customer+"/voicemail_greetings"+path, "voicemail_greetings") {
			if _, ok := g["sounddata"]; ok != want {
				t.Errorf("greeting%s: sounddata %t", path, ok)
			}
		}
	}
}

func TestOldRecordingsAreExpired(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Size, o.Days = 6, 70 })
	states := map[string]int{}
	for _, customer := range c.list("customers", "customers") {
		for _, r := range c.list("recordings?customer_id="+customer["customer_id"].(string), "recordings") {
			states[r["expired"].(string)]++
		}
	}
	if states["0"] == 0 || states["1"] == 0 {
		t.Errorf("expired: %v", states)
	}
}

func TestSystemGreetingsRepeatUnderEveryCustomer(t *testing.T) {
	t.Parallel()
	c := start(t)
	for _, customer := range c.list("customers", "customers") {
		system := 0
		for _, g := range c.list("customers/voicemail_greetings?customer_id="+customer["customer_id"].(string), "voicemail_greetings") {
			if g["locked"] == "1" {
				system++
				if g["customer_id"] != nil {
					t.Errorf("a system greeting belongs to %v", g["customer_id"])
				}
			}
		}
		if system != 3 {
			t.Errorf("customer %v has %d system greetings, want 3", customer["customer_id"], system)
		}
	}
}

func TestSomeUsersHaveAnActivationTokenAndTruthHasNone(t *testing.T) {
	t.Parallel()
	c := start(t)
	null, canary := 0, 0
	for _, u := range c.list("users", "users") {
		switch token := u["token"].(type) {
		case nil:
			null++
		case string:
			if strings.HasPrefix(token, "activation-canary-") {
				canary++
			}
		}
	}
	if null == 0 || canary == 0 {
		t.Errorf("%d users without a token, %d with one", null, canary)
	}
	for u := range c.box.KaisaTruth("users", time.Time{}, time.Time{}) {
		if _, ok := u["token"]; ok {
			t.Fatal("a token would land")
		}
	}
}

func TestCampaignsLackTheirCustomerAndHaveThreeStates(t *testing.T) {
	t.Parallel()
	c := start(t)
	states := map[any]int{}
	for _, customer := range c.list("customers", "customers") {
		for _, m := range c.list("customers/campaigns?customer_id="+customer["customer_id"].(string), "campaigns") {
			if _, ok := m["customer_id"]; ok {
				t.Fatal("a campaign names its customer")
			}
			states[m["state"]]++
		}
	}
	if states["0"] == 0 || states["1"] == 0 || states["2"] == 0 {
		t.Errorf("states: %v", states)
	}
}

func TestCallbacksLookOneWeekAheadUnlessAskedForThePast(t *testing.T) {
	t.Parallel()
	c := start(t)
	for _, kind := range []string{"callbacks", "confirmationcallback"} {
		future, past, done := 0, 0, 0
		for _, customer := range c.list("customers", "customers") {
			path := "customers/" + kind + "?customer_id=" + customer["customer_id"].(string)
			for _, one := range c.list(path, kind) {
				at, err := time.Parse(time.DateTime, one["scheduled"].(string))
				if err != nil || at.Before(asOf) || at.After(asOf.AddDate(0, 0, 7)) {
					t.Fatalf("%s: scheduled %v, want the week from now", kind, one["scheduled"])
				}
				if one["completed"] != "0" || one["cdr_id"] != nil {
					t.Errorf("%s: a future one is completed", kind)
				}
				future++
			}
			for _, one := range c.list(path+"&from_date=2026-03-01%2000:00:00&to_date=2026-03-08%2000:00:00", kind) {
				past++
				if one["completed"] != "0" && one["cdr_id"] != nil {
					done++
				}
			}
		}
		if future == 0 || past == 0 || done == 0 {
			t.Errorf("%s: %d ahead, %d past, %d of them done", kind, future, past, done)
		}
	}
}

func TestPincodesComeNewestFirstInChunksOfAThousand(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Days = 90 })
	object := c.get("customers/pincodes?pagesize=5")
	first := records(t, object, "pincodes")
	if len(first) != 1000 || object["total"] != nil || object["calls"] != nil {
		t.Fatalf("%d pincodes, total %v, calls %v", len(first), object["total"], object["calls"])
	}
	second := c.list("customers/pincodes?page=1", "pincodes")
	if len(second) == 0 || len(second) >= 1000 {
		t.Fatalf("%d pincodes on the second page", len(second))
	}
	last := int64(1) << 62
	for _, p := range append(first, second...) {
		id, err := strconv.ParseInt(p["pincode_id"].(string), 10, 64)
		if err != nil || id >= last {
			t.Fatalf("pincode %v after %d: want newest first", p["pincode_id"], last)
		}
		last = id
	}
	one := c.get("customers/pincodes?pincode_id=" + second[0]["pincode_id"].(string))
	if _, ok := one["calls"].([]any); !ok || len(records(t, one, "pincodes")) != 1 {
		t.Errorf("one pincode: %v", one)
	}
}

func TestOrdersAreThoseThatCallsName(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Days = 8 })
	orders := map[any]map[string]any{}
	for _, o := range c.list("customer_orders", "customer_orders") {
		orders[o["order_id"]] = o
	}
	named := 0
	for _, call := range c.pages("statistics/cdrs?extended=1", "cdrs") {
		id := call["order_id"]
		if id == nil {
			continue
		}
		named++
		if o := orders[id]; o == nil || o["customer_id"] != call["customer_id"] || o["cli_id"] != call["cli_id"] {
			t.Fatalf("order %v of a call of customer %v is %v", id, call["customer_id"], o)
		}
	}
	if named == 0 || named != len(orders) {
		t.Errorf("%d orders, %d named by calls", len(orders), named)
	}
	for id, o := range orders {
		if one := c.list("customer_orders?order_id="+id.(string), "customer_orders"); len(one) != 1 || one[0]["created"] != o["created"] {
			t.Errorf("one order: %v", one)
		}
		break
	}
}

func TestBlacklistsAreArraysOfTexts(t *testing.T) {
	t.Parallel()
	c := start(t)
	number := regexp.MustCompile(`^\+\d{8,14}$`)
	customers := 0
	check := func(path string) {
		for _, v := range c.get(path)["blacklist"].([]any) {
			if !number.MatchString(v.(string)) {
				t.Errorf("%s: %v", path, v)
			}
			customers++
		}
	}
	check("blacklist")
	if customers == 0 {
		t.Error("the global blacklist is empty")
	}
	for _, customer := range c.list("customers", "customers") {
		check("customers/blacklist?customer_id=" + customer["customer_id"].(string))
	}
}

func TestWidgetAnswersAreScalarsOrArraysWrappedOrNotTextOrNumber(t *testing.T) {
	t.Parallel()
	c := start(t)
	const day = "&from_date=2026-03-10&to_date=2026-03-10"
	for path, want := range map[string]string{
		"call_totals":             `^\[\{"dataset":"call_totals","datasources":\[\{"datasource":0,"data":"\d+"\}\]\}\]$`,
		"unique_callers":          `^\[\{"dataset":"unique_callers","datasources":\[\{"datasource":0,"data":\d+\}\]\}\]$`,
		"calls_per_day":           `^\{"dataset":"calls_per_day","datasources":\[\{"datasource":0,"data":\[\{"name":"2026-03-10","Answered":"\d+","Missed":"\d+"\}\]\}\]\}$`,
		"geographic_origin":       `^\{"dataset":"geographic_origin","datasources":\[\{"datasource":0,"data":\[\{"name":"[^"]+","val":"\d+"\}`,
		"missed_calls&x=1":        `"data":"\d+"`,
		"call_durations":          `"data":\d+`,
		"daily_call_distribution": `\{"name":"23","Answered":`,
	} {
		if body := c.raw("widgets/data?type=" + path + day).body; !regexp.MustCompile(want).MatchString(body) {
			t.Errorf("%s: %.200s", path, body)
		}
	}
	var answer []struct {
		Datasources []struct{ Data string }
	}
	if err := json.Unmarshal([]byte(c.raw("widgets/data?type=call_totals"+day).body), &answer); err != nil {
		t.Fatal(err)
	}
	calls := c.pages("statistics/cdrs?from_date=2026-03-10%2000:00:00&to_date=2026-03-10%2023:59:59", "cdrs")
	if answer[0].Datasources[0].Data != strconv.Itoa(len(calls)) {
		t.Errorf("call_totals says %s, there are %d calls", answer[0].Datasources[0].Data, len(calls))
	}
}

func TestSourceStatusesListProblemsOnly(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Size = 60 })
	all := c.list("sources/statuses", "statuses")
	if len(all) == 0 || len(all) > 60 {
		t.Errorf("%d problems", len(all))
	}
	for _, s := range all {
		if s["service"] != "OOS" {
			t.Errorf("%v", s)
		}
	}
}
