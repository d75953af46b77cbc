package sandbox_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"testing"

	"github.com/winchdata/winch/internal/sandbox"
)

func TestPageSizeIsAThousandAtMostAndPagesCountFromZero(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Days, o.Volume = 3, 6 })
	const day = "statistics/cdrs?from_date=2026-03-10%2000:00:00&to_date=2026-03-10%2023:59:59"
	object := c.get(day)
	if n := len(records(t, object, "cdrs")); n != 1000 || object["page"] != 0.0 || object["pagesize"] != 1000.0 || object["numpages"].(float64) < 2 {
		t.Fatalf("%d records, page %v of %v, size %v", n, object["page"], object["numpages"], object["pagesize"])
	}
	if n := len(c.list(day+"&pagesize=5000", "cdrs")); n != 1000 {
		t.Errorf("pagesize=5000 gave %d", n)
	}
	if c.raw(day).body != c.raw(day+"&page=0").body {
		t.Error("the first page is not page 0")
	}
	if last := c.list(day+"&page=99", "cdrs"); len(last) != 0 {
		t.Errorf("beyond the last page: %d records, want none", len(last))
	}
	var ids []string
	for _, call := range c.pages(day+"&pagesize=77", "cdrs") {
		ids = append(ids, call["cdr_id"].(string))
	}
	if whole := c.pages(day, "cdrs"); len(whole) != len(ids) || whole[500]["cdr_id"] != ids[500] {
		t.Errorf("pages of 77 gave %d records, of 1000 %d", len(ids), len(whole))
	}
	newest := c.pages(day+"&newest_first=true", "cdrs")
	slices.Reverse(newest)
	for i, call := range newest {
		if call["cdr_id"] != ids[i] {
			t.Fatalf("newest_first is not the reverse at %d", i)
		}
	}
}

func TestPageSizeOfListsMayBeIgnoredByOption(t *testing.T) {
	t.Parallel()
	if n := len(start(t).list("customers?pagesize=3", "customers")); n != 3 {
		t.Errorf("pagesize=3 gave %d", n)
	}
	fixed := start(t, func(o *sandbox.Options) { o.Kaisa.FixedPageSize = true })
	if n := len(fixed.list("customers?pagesize=3", "customers")); n < 10 {
		t.Errorf("fixed: pagesize=3 gave %d", n)
	}
}

func TestBothDateBoundsAreInclusiveUnlessTheOptionSaysOtherwise(t *testing.T) {
	t.Parallel()
	c := start(t)
	at := c.list("statistics/cdrs?from_date=2026-03-10%2000:00:00", "cdrs")[10]["start"].(string)
	span := "statistics/cdrs?from_date=" + url.QueryEscape(at) + "&to_date=" + url.QueryEscape(at)
	if all := c.list(span, "cdrs"); len(all) == 0 || all[0]["start"] != at {
		t.Errorf("inclusive: %v", all)
	}
	exclusive := start(t, func(o *sandbox.Options) { o.Kaisa.ExclusiveTo = true })
	if all := exclusive.list(span, "cdrs"); len(all) != 0 {
		t.Errorf("exclusive: %v", all)
	}
}

func TestCallsAreFilteredByCustomerSourceNumberAndID(t *testing.T) {
	t.Parallel()
	c := start(t)
	const day = "statistics/cdrs?from_date=2026-03-09%2000:00:00&to_date=2026-03-09%2023:59:59&extended=1"
	all := c.pages(day, "cdrs")
	one := all[len(all)/2]
	for name := range map[string]string{"customer_id": "", "source_id": "", "custnr": "", "cdr_id": ""} {
		want := 0
		for _, call := range all {
			if call[name] == one[name] {
				want++
			}
		}
		got := c.pages(fmt.Sprintf("%s&%s=%s", day, name, one[name]), "cdrs")
		if len(got) != want || want == 0 {
			t.Errorf("%s: %d calls, want %d", name, len(got), want)
		}
		for _, call := range got {
			if call[name] != one[name] {
				t.Errorf("%s: got a call of %v", name, call[name])
			}
		}
	}
	if got := c.list("statistics/cdrs/"+one["cdr_id"].(string), "cdrs"); len(got) != 1 || got[0]["start"] != one["start"] {
		t.Errorf("by path: %v", got)
	}
}

func TestExtendedAddsFieldsAndTheCallerIsMasked(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) { o.Days = 5 })
	const day = "statistics/cdrs?from_date=2026-03-09%2000:00:00&to_date=2026-03-09%2023:59:59"
	if _, ok := c.list(day, "cdrs")[0]["recording_id"]; ok {
		t.Error("recording_id comes without extended=1")
	}
	answered, recorded := 0, 0
	for _, call := range c.pages(day+"&extended=1", "cdrs") {
		if !regexp.MustCompile(`^\+\d+xxx$`).MatchString(call["anum"].(string)) || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(call["anum_md5"].(string)) {
			t.Fatalf("anum %v, anum_md5 %v", call["anum"], call["anum_md5"])
		}
		if call["answered"] == "0" && (call["duration"] != "0" || call["recording_id"] != nil) {
			t.Errorf("a missed call lasts %v and has the recording %v", call["duration"], call["recording_id"])
		}
		if call["answered"] == "1" {
			answered++
		}
		if call["recording_id"] != nil {
			recorded++
		}
	}
	if answered == 0 || recorded == 0 || recorded >= answered {
		t.Errorf("%d answered, %d recorded", answered, recorded)
	}
	for _, call := range c.list("statistics/cdrs_out?extended=1", "cdrs")[:1] {
		if _, ok := call["recording_id"]; ok || call["source_media"] == nil {
			t.Errorf("outbound: %v", call)
		}
	}
}

func TestOutboundCallsMayHaveAnotherPathAndKey(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *sandbox.Options) {
		o.Kaisa.OutboundPath, o.Kaisa.OutboundKey = "statistics/cdrs/out", "cdrs_out"
	})
	if all := c.list("statistics/cdrs/out", "cdrs_out"); len(all) == 0 {
		t.Error("no outbound calls")
	}
	if res := c.raw("statistics/cdrs_out"); res.status != 404 {
		t.Errorf("the other spelling: %d, want 404", res.status)
	}
}
