package ledger

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

// orders is a stream as it was read, with two windows that are held.
func orders() (Want, []Entry) {
	want := Want{
		Source: "shop", Slice: connector.Days(1), Since: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		Stream: connector.Stream{
			Name: "orders", Mode: connector.ModeWindow, PrimaryKey: []string{"id", "shop"}, TimeColumn: "at",
			Columns: []connector.Column{
				{Name: "id", Type: connector.TypeBigint},
				{Name: "shop", Type: connector.TypeText},
				{Name: "at", Type: connector.TypeTimestamp},
				{Name: "password", Type: connector.TypeText, Secret: true},
			},
		},
	}
	var held []Entry
	for day := range 2 {
		since := want.Since.AddDate(0, 0, day)
		held = append(held, Entry{
			Slice: Slice{Source: "shop", Stream: "orders", Window: connector.Window{Since: since, Until: since.AddDate(0, 0, 1)}},
			State: Held, LastReadAt: since.AddDate(0, 0, 2),
		})
	}
	return want, held
}

const againCommand = "winch backfill shop --from 2026-03-01 --to 2026-03-02 --stream orders --force"

func TestChangesAreToldWithWhatToRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Want)
		want   []Change // without Means, which is prose
	}{
		"nothing":                      {func(*Want) {}, nil},
		"the key in another order":     {func(w *Want) { w.Stream.PrimaryKey = []string{"shop", "id"} }, nil},
		"lookback, lag and the order":  {func(w *Want) { w.Lookback, w.Lag, w.Order = connector.Days(9), connector.Days(1), OldestFirst }, nil},
		"a column that is never kept":  {func(w *Want) { w.Stream.Columns = w.Stream.Columns[:3] }, nil},
		"key":                          {func(w *Want) { w.Stream.PrimaryKey = []string{"id"} }, []Change{{What: "primary_key", Was: "id,shop", Is: "id", Command: "winch reset shop/orders", Refused: true}}},
		"mode, which is said alone":    {func(w *Want) { w.Stream.Mode, w.Slice = connector.ModeCursor, connector.Span{} }, []Change{{What: "mode", Was: "window", Is: "cursor", Command: "winch reset shop/orders", Refused: true}}},
		"slice":                        {func(w *Want) { w.Slice = connector.Days(7) }, []Change{{What: "slice", Was: "1d", Is: "7d", Command: againCommand}}},
		"an earlier since":             {func(w *Want) { w.Since = w.Since.AddDate(0, -1, 0) }, []Change{{What: "since", Was: "2026-03-01", Is: "2026-02-01", Command: "winch pull shop --stream orders"}}},
		"a later since":                {func(w *Want) { w.Since = w.Since.Add(36 * time.Hour) }, []Change{{What: "since", Was: "2026-03-01", Is: "2026-03-02T12:00:00Z"}}},
		"no since":                     {func(w *Want) { w.Since = time.Time{} }, []Change{{What: "since", Was: "2026-03-01", Is: "not set"}}},
		"a wider type":                 {func(w *Want) { w.Stream.Columns[0].Type = connector.TypeNumeric }, []Change{{What: "column id", Was: "bigint", Is: "numeric"}}},
		"another type":                 {func(w *Want) { w.Stream.Columns[1].Type = connector.TypeBigint }, []Change{{What: "column shop", Was: "text", Is: "bigint", Command: "winch reset shop/orders"}}},
		"another type, set aside":      {func(w *Want) { w.Schema = SchemaQuarantine; w.Stream.Columns[1].Type = connector.TypeBigint }, []Change{{What: "column shop", Was: "text", Is: "bigint"}}},
		"a wider type in a frozen one": {func(w *Want) { w.Schema = SchemaFreeze; w.Stream.Columns[0].Type = connector.TypeNumeric }, []Change{{What: "column id", Was: "bigint", Is: "numeric"}}},
		"a column more and one less": {
			func(w *Want) { w.Stream.Columns[1].Name = "store"; w.Stream.PrimaryKey[1] = "store" },
			[]Change{
				{What: "primary_key", Was: "id,shop", Is: "id,store", Command: "winch reset shop/orders", Refused: true},
				{What: "column store", Is: "text", Command: againCommand},
				{What: "column shop", Was: "text"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, held := orders()
			was := want.Declaration()
			want.Stream.Columns = append([]connector.Column{}, want.Stream.Columns...)
			want.Stream.PrimaryKey = append([]string{}, want.Stream.PrimaryKey...)
			c.change(&want)
			got := Changes(was, want, held)
			for i := range got {
				if got[i].Means == "" {
					t.Errorf("%s does not say what it means", got[i].What)
				}
				got[i].Means = ""
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsReadAgainIsNamedInTheStreamsZone(t *testing.T) {
	t.Parallel()
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	want, held := orders()
	was := want.Declaration()
	want.Location = stockholm
	changes := Changes(was, want, held)
	if len(changes) != 1 || changes[0].What != "timezone" || changes[0].Was != "UTC" || changes[0].Is != "Europe/Stockholm" ||
		changes[0].Command != "winch backfill shop --from 2026-03-01T01:00:00+01:00 --to 2026-03-03T01:00:00+01:00 --stream orders --force" {
		t.Errorf("%+v", changes)
	}
	if !strings.Contains(changes[0].String(), "timezone was UTC and is Europe/Stockholm: ") {
		t.Errorf("%s", changes[0])
	}
	if changes := Changes(was, want, nil); len(changes) != 1 || changes[0].Command != "" {
		t.Errorf("with nothing held: %+v", changes)
	}
}

func TestADeclarationIsEqualToItselfAlone(t *testing.T) {
	t.Parallel()
	want, _ := orders()
	d := want.Declaration()
	if !d.Equal(want.Declaration()) {
		t.Error("differs from itself")
	}
	want.Slice = connector.Days(2)
	if d.Equal(want.Declaration()) {
		t.Error("another slice is the same")
	}
}
