package connectortest

import (
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func toyCandidate(defect string, checks ...string) Candidate {
	return Candidate{
		Definition: toyDefinition(),
		Vendor:     &toyVendor{},
		Settings: map[string]any{
			"token_url": "/token", "base_url": "/v1", "client_id": toyID, "client_secret": toySecret, "defect": defect,
		},
		AsOf:   toyNow,
		Checks: checks,
	}
}

func executableCandidate(defect string, checks ...string) Candidate {
	c := toyCandidate(defect, checks...)
	c.Definition, c.Path = connector.Definition{}, executable
	return c
}

func examine(t *testing.T, c Candidate) Report {
	t.Helper()
	report, err := Examine(t.Context(), c)
	if err != nil {
		t.Fatal(err, connector.HintOf(err))
	}
	return report
}

// failed returns the ids of the checks that did not pass, with the reason.
func failed(r Report) string {
	var b strings.Builder
	for _, result := range r.Results {
		if result.Outcome != Pass {
			b.WriteString(result.ID + " " + string(result.Outcome) + ": " + result.Detail + "\n")
		}
	}
	return b.String()
}

func TestGoodConnectorPassesEveryCheck(t *testing.T) {
	t.Parallel()
	c := toyCandidate("")
	// Of its own: P10 listens to slog's default, where a defective toy of another test
	// logs its secret.
	c.Settings["client_secret"] = toySecret + "-of-the-good-one"
	report := examine(t, c)
	want := "L2 does_not_apply: a Definition is examined in this process; winch connector test examines an executable\n"
	if diff := cmp.Diff(want, failed(report)); diff != "" || !report.Passed {
		t.Errorf("checks that did not pass (-want +got):\n%s", diff)
	}
	if len(report.Results) != len(Checks()) {
		t.Errorf("%d results of %d checks", len(report.Results), len(Checks()))
	}
}

func TestGoodExecutablePassesEveryCheck(t *testing.T) {
	t.Parallel()
	report := examine(t, executableCandidate(""))
	want := "L1 does_not_apply: the goroutines of an executable cannot be seen; a test with connectortest.Run sees those of a Definition\n"
	if diff := cmp.Diff(want, failed(report)); diff != "" || !report.Passed {
		t.Errorf("checks that did not pass (-want +got):\n%s", diff)
	}
}

// A defect is what can be wrong with a connector, the check that finds it, and
// what that says.
type defect struct{ defect, check, says string }

// find examines a toy for each defect, in a subtest each. The exams wait most of
// the time, so many are made at once.
func find(t *testing.T, defects []defect, candidate func(defect string, checks ...string) Candidate) {
	t.Helper()
	var (
		exams   sync.WaitGroup
		reports = make([]Report, len(defects))
		errs    = make([]error, len(defects))
		places  = make(chan struct{}, 12)
	)
	for i, d := range defects {
		exams.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			reports[i], errs[i] = Examine(t.Context(), candidate(d.defect, d.check))
		})
	}
	exams.Wait()
	for i, d := range defects {
		t.Run(d.check+"_"+d.defect, func(t *testing.T) {
			// T1 and T7 go by the clock: while the machine stalls, their defects can
			// go unseen. Then they are looked at again, alone.
			for again := 0; again < 2 && errs[i] == nil && reports[i].Passed; again++ {
				reports[i], errs[i] = Examine(t.Context(), candidate(d.defect, d.check))
			}
			if errs[i] != nil || len(reports[i].Results) != 1 || reports[i].Passed {
				t.Fatalf("error %v, %d results, passed %v: %s", errs[i], len(reports[i].Results), reports[i].Passed, failed(reports[i]))
			}
			if got := reports[i].Results[0]; got.Outcome != Fail || !strings.Contains(got.Detail, d.says) {
				t.Errorf("%s: %s\nwant it to say %q", got.Outcome, got.Detail, d.says)
			}
		})
	}
}

// defects hold a way to fail for each check.
var defects = []defect{
	{"lenient", "D2", "with a setting that does not exist: no error"},
	{"streams_change", "D3", "two calls gave different answers"},
	{"cannot_read_things", "R1", "things: things: out of order"},
	{"ignores_proxy", "R2", "the proxy was not asked for the host of token_url"},
	{"checkpoint_before_records", "P1", "0 records before checkpoint 1 of 6 and those after it: 2 of 5 keys are missing"},
	{"checkpoint_before_records", "P5", "cut off before event 3"},
	{"no_final_checkpoint", "P2", "changes: the pull ended with a record"},
	{"ignores_emitter", "P3", "Pull returned no error instead of the error of event 1"},
	{"emits_after_error", "P3", "events were emitted after the error of event 1"},
	{"ignores_cancellation", "P4", "Pull had not returned after 5s"},
	{"own_words_for_cancellation", "P4", "does not wrap context.Canceled"},
	{"remembers_what_it_emitted", "P5", "keys are missing"},
	{"clock", "P6", "names the present"},
	{"random", "P6", "which it did not the first time"},
	{"fresh_start", "P7", "with the cursor no JSON: no error, 5 records"},
	{"null_key", "P8", "primary key column id is null"},
	{"no_object", "P8", "a record is no JSON object"},
	{"window_without_its_first_moment", "P9", "1 keys came beyond"},
	{"window_with_its_end", "P9", "lies outside"},
	{"secret_in_error", "P10", "a secret setting in an error of Pull"},
	{"logs_secret", "P10", "a secret setting in a log line"},
	{"token_in_record", "P10", "a token in a record of changes"},
	{"renews_late", "T1", "requests were signed with a token that had ended"},
	{"renews_at_the_end", "T1", "not ahead of its end"},
	{"fetches_for_each_request", "T2", "tokens were fetched"},
	{"fetches_for_each_pull", "T3", "3 token requests for 3 pulls that began at the same time, 1 would do"},
	{"gives_up_on_401", "T4", "401 Unauthorized"},
	{"storms", "T5", "was sent more than twice"},
	{"renews_for_each_pull", "T6", "renewals after"},
	{"stale_header", "T7", "came with the token from before"},
	{"follows_redirects", "T8", "a token went to the other host"},
	{"follows_redirects", "T8", "a secret setting went to the other host"},
	{"tries_refused_credentials", "T9", "the token endpoint was asked 2 times"},
	{"outage_is_refusal", "T10", "want KindUnavailable"},
	{"ignores_retry_after", "H1", "the vendor had asked for 1s"},
	{"rate_limit_is_bad_response", "H2", "of kind bad_response, want KindRateLimited"},
	{"outage_is_bad_response", "H3", "of kind bad_response, want KindUnavailable"},
	{"forbidden_is_auth", "H4", "of kind auth, want KindForbidden"},
	{"cut_off_is_the_end", "H5", "the pull ended without an error although"},
	{"html_is_empty", "H6", "the pull ended without an error although"},
	{"other_shape_is_empty", "H7", "the pull ended without an error although"},
	{"endless_paging", "H8", "requests without an end"},
	{"large_is_unknown", "H9", "of kind unknown, want KindBadResponse"},
	{"leaves_goroutine", "L1", "sorts of goroutines are left"},
}

func TestEachCheckFindsItsDefect(t *testing.T) {
	t.Parallel()
	find(t, defects, toyCandidate)
}

func TestExecutablesDefectsAreFound(t *testing.T) {
	t.Parallel()
	find(t, []defect{
		{"ignores_cancellation", "P4", "had not ended"},
		{"ignores_all", "P3", "requests were made after the emitter's error"},
		{"logs_secret", "P10", "a secret setting in a log line"},
		{"secret_in_error", "P10", "a secret setting in an error of Pull"},
		{"checkpoint_before_records", "P1", "keys are missing"},
		{"leaves_process", "L2", "processes that it started are left"},
	}, executableCandidate)
}

// Every check can fail: there is a defect for each, here or in a test of its own.
func TestEveryCheckHasADefect(t *testing.T) {
	t.Parallel()
	elsewhere := []string{"D1", "L2"} // TestIncompleteDefinitionIsFound, TestExecutablesDefectsAreFound
	for _, check := range Checks() {
		found := slices.Contains(elsewhere, check.ID)
		for _, tc := range defects {
			found = found || tc.check == check.ID
		}
		if !found {
			t.Errorf("%s has no defective toy", check.ID)
		}
		if check.Rule == "" || check.Source == "" || check.Means == "" {
			t.Errorf("%s does not say what it demands, where that stands and what a failure means", check.ID)
		}
	}
}

func TestIncompleteDefinitionIsFound(t *testing.T) {
	t.Parallel()
	c := toyCandidate("", "D1")
	c.Definition.Title, c.Definition.DocsURL = "", ""
	c.Definition.ConfigSchema = []byte(`{"properties":{"base_url":{},"client_secret":{}}}`)
	c.Definition.Streams = []connector.Stream{{Name: "Things", Mode: connector.ModeSnapshot}}
	c.Secrets = []string{toySecret}
	got := examine(t, c).Results[0].Detail
	for _, want := range []string{
		"there is no title", "there is no address of the vendor's documentation", "stream Things: name must match",
		"stream Things: primary key is empty", "the configuration schema has no token_url",
		"the setting client_secret holds a secret and is not marked writeOnly",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
}

// What a candidate lacks is told, never left out.
func TestChecksThatDoNotApplySayWhy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(c *Candidate)
		check  string
		says   string
	}{
		"no checkpoints": {func(c *Candidate) { c.Streams = []string{"things"} }, "P1", "no stream has checkpoints"},
		"no cursors":     {func(c *Candidate) { c.Streams = []string{"things"} }, "P7", "no stream has cursors"},
		"no windows":     {func(c *Candidate) { c.Streams = []string{"things"} }, "P9", "no window stream"},
		"one slice":      {func(c *Candidate) { c.Streams = []string{"things"} }, "T3", "there is one slice"},
		"no pages":       {func(c *Candidate) { c.Streams = []string{"events"}; c.AsOf = toyNow.AddDate(0, 1, 0) }, "H8", "no stream had a record"},
		"another name":   {func(c *Candidate) { c.LifetimeField = "ttl" }, "T1", "names no lifetime"},
		"nothing read":   {func(c *Candidate) { c.Settings["client_secret"] = "canary-wrong-secret" }, "T1", "no stream could be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := toyCandidate("", tc.check)
			tc.change(&c)
			if got := examine(t, c).Results[0]; got.Outcome != NotApplicable || !strings.Contains(got.Detail, tc.says) {
				t.Errorf("%s: %s\nwant that it does not apply: %q", got.Outcome, got.Detail, tc.says)
			}
		})
	}
}

func TestIncompleteCandidateIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *Candidate){
		"want either a definition or the path":     func(c *Candidate) { c.Path = executable },
		"the settings have no base_url":            func(c *Candidate) { delete(c.Settings, "base_url") },
		"the setting base_url is no address":       func(c *Candidate) { c.Vendor = nil },
		"secret 1 has less than 6 characters":      func(c *Candidate) { c.Secrets = []string{"abc"} },
		`no check is called "X1"`:                  func(c *Candidate) { c.Checks = []string{"X1"} },
		"is not called winch-connector-NAME":       func(c *Candidate) { c.Definition, c.Path = connector.Definition{}, "/bin/sh" },
		"no such connector, neither bundled nor i": func(c *Candidate) { c.Definition, c.Path = connector.Definition{}, "/nowhere/winch-connector-toy" },
	} {
		c := toyCandidate("")
		change(&c)
		_, err := Examine(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), name) || connector.KindOf(err) != connector.KindConfig || connector.HintOf(err) == "" {
			t.Errorf("%v (%s, %q), want %q", err, connector.KindOf(err), connector.HintOf(err), name)
		}
	}
}

// A vendor at two addresses of its own, which it names in its answers.
func TestVendorAtAnAddress(t *testing.T) {
	t.Parallel()
	vendor := &toyVendor{}
	tokens, api := httptest.NewServer(vendor), httptest.NewServer(vendor)
	t.Cleanup(tokens.Close)
	t.Cleanup(api.Close)
	c := toyCandidate("", "R1", "P5", "T3", "T4", "H5", "H8")
	c.Vendor = nil
	c.Settings["token_url"], c.Settings["base_url"] = tokens.URL+"/token", api.URL+"/v1"
	if report := examine(t, c); !report.Passed || report.Count(Pass) != 6 {
		t.Error(failed(report))
	}
}

func TestRunReportsEachCheckAsASubtest(t *testing.T) {
	t.Parallel()
	Run(t, toyCandidate("", "D1", "R1", "P2", "L2"))
}

func TestReportSaysWhatAFailureMeans(t *testing.T) {
	t.Parallel()
	report := examine(t, toyCandidate("no_final_checkpoint", "R1", "P2", "L2"))
	report.Seconds = 1.25
	var b strings.Builder
	if _, err := report.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	want := `pass  R1   every stream is read from a vendor that behaves
           3 slices, 14 keys, 9 requests
FAIL  P2   a pull of a cursor stream that emitted a record ends with a checkpoint; a snapshot stream has none
           changes: the pull ended with a record
           this means: the stream starts over each time and its last records are never kept
           the rule stands in package connector, doc.go
 --   L2   no process is left when the source is closed, and the connector ends when it is told to
           does not apply: a Definition is examined in this process; winch connector test examines an executable

toy FAILED: 1 passed, 1 failed, 1 do not apply, in 1.2 s
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func FuzzRecordsOfAnyKindAreJudged(f *testing.F) {
	for _, seed := range []string{`{"id":1,"at":"2024-03-20T15:00:00Z"}`, `{"id":null}`, `[{"id":1}]`, `"{\"a\":\"b\"}"`, `{`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, raw []byte) {
		for _, st := range toyStreams {
			_, _ = keyOf(st, raw)
			for _, column := range st.Columns {
				_, _ = momentOf(column, raw)
			}
		}
		_ = textsOf(raw)
		_ = mentionsNow(&exchange{target: "/?at=" + string(raw), body: raw})
	})
}
