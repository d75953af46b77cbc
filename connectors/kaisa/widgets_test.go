package kaisa

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func TestWidgetAnswersAreExploded(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, want string }{
		{
			"rows", `{"dataset":"x","datasources":[{"datasource":0,"data":[{"name":"a","val":"1"},{"name":9,"val":2}]}]}`,
			`{"name":"a","val":"1","datasource":0} {"name":9,"val":2,"datasource":0}`,
		},
		{"a value as text", `{"dataset":"x","datasources":[{"datasource":0,"data":"74"}]}`, `{"name":"","val":"74","datasource":0}`},
		{"a value as number", `{"dataset":"x","datasources":[{"datasource":"0","data":50}]}`, `{"name":"","val":50,"datasource":"0"}`},
		{"no value", `{"dataset":"x","datasources":[{"data":null}]}`, `{"name":"","val":null}`},
		{"wrapped", ` [ {"dataset":"x","datasources":[{"data":1}]} ] `, `{"name":"","val":1}`},
		{"no source", `{"dataset":"x","datasources":[]}`, ``},
		{"no sources", `{"dataset":"x"}`, `error: the answer is no widget dataset`},
		{"two answers", `[{"dataset":"x","datasources":[]},{"dataset":"x","datasources":[]}]`, `error: the answer is no widget dataset`},
		{"none", `[]`, `error: the answer is no widget dataset`},
		{"an object", `{"dataset":"x","datasources":[{"data":{"a":1}}]}`, `error: the data of the answer is neither a value nor a list`},
		{"no data", `{"dataset":"x","datasources":[{"datasource":0}]}`, `error: the data of the answer is neither a value nor a list`},
		{"a row without a name", `{"dataset":"x","datasources":[{"data":[{"val":1}]}]}`, `error: row 0 of the answer has no name`},
		{"a row that is none", `{"dataset":"x","datasources":[{"data":[{"name":"a"},7]}]}`, `error: row 1 of the answer has no name`},
		{"another type", `{"dataset":"y","datasources":[]}`, `error: the answer is of type "y", asked for was "x"`},
		{"no JSON", `<html>`, `error: the answer is no widget dataset`},
	} {
		rows, err := explode([]byte(tc.body), "x")
		got := join(rows)
		if err != nil {
			got = "error: " + err.Error()
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func join(rows [][]byte) string {
	texts := make([]string, len(rows))
	for i, row := range rows {
		texts[i] = string(row)
	}
	return strings.Join(texts, " ")
}

// However windows are cut, each day is read in exactly one of them.
func TestEachDayBelongsToOneWindow(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"UTC", "Europe/Stockholm", "America/New_York", "Asia/Kolkata"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		whole := connector.Window{
			Since: time.Date(2024, 3, 1, 0, 0, 0, 0, loc),
			Until: time.Date(2024, 4, 1, 0, 0, 0, 0, loc), // over a change of clocks
		}
		var parts []time.Time
		for _, w := range whole.Days(loc) {
			parts = append(parts, days(w)...)
		}
		if diff := cmp.Diff(days(whole), parts); diff != "" || len(parts) != 31 {
			t.Errorf("%s: %d days (-whole +parts):\n%s", zone, len(parts), diff)
		}
	}
}

// FuzzExplode: whatever comes, there is either an error of the right kind or rows
// that can be told apart by a name.
func FuzzExplode(f *testing.F) {
	for _, body := range []string{
		`{"dataset":"x","datasources":[{"datasource":0,"data":[{"name":"a","val":"1"}]}]}`,
		`[{"dataset":"x","datasources":[{"datasource":0,"data":"74"}]}]`,
		`{"dataset":"x","datasources":[{"datasource":{"a":[1]},"data":[{"name":true,"datasource":1}]}]}`,
		`{"dataset":"x","datasources":[{"data":null}]}`, `[]`, `{}`, ``,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rows, err := explode(body, "x")
		if err != nil {
			if connector.KindOf(err) != connector.KindBadResponse {
				t.Errorf("%q: %v is of kind %s", body, err, connector.KindOf(err))
			}
			return
		}
		for _, row := range rows {
			var fields map[string]any
			if err := json.Unmarshal(row, &fields); err != nil || fields["name"] == nil {
				t.Errorf("%q: row %q: %v", body, row, err)
			}
		}
	})
}
