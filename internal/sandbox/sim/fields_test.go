package sim

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func FuzzAppendTextIsReadBackByAnyDecoder(f *testing.F) {
	for _, s := range []string{"", "plain", `a"b\c/d`, "Åse\n\t\x00\x1f", "春の特売 🍂", "\u2028"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, ascii bool) {
		text := AppendText(nil, s, ascii)
		var got string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		// What is not UTF-8 reads as the replacement character, by both.
		if want := string([]rune(s)); got != want {
			t.Errorf("%q reads as %q, want %q", text, got, want)
		}
		if ascii {
			for _, c := range text {
				if c >= 0x80 {
					t.Fatalf("%q has a byte beyond ASCII", text)
				}
			}
		}
	})
}

func FuzzAppendTimeIsTimeFormat(f *testing.F) {
	for _, unix := range []int64{0, 1, 86399, 86400, 951782400, 1709164800, 1772323199, 4102444800} {
		f.Add(unix)
	}
	f.Fuzz(func(t *testing.T, unix int64) {
		if unix < 0 || unix > 253402300799 { // the years 1970 to 9999
			return
		}
		want := time.Unix(unix, 0).UTC().Format(time.DateTime)
		if got := string(AppendTime(nil, unix)); got != want {
			t.Errorf("%d is %q, want %q", unix, got, want)
		}
	})
}

func TestBothFormsOfARecordHaveTheSameFields(t *testing.T) {
	t.Parallel()
	write := func(f *Fields) {
		f.Begin()
		f.QuotedInt("id", 7)
		f.Int("n", -3)
		f.Flag("on", true)
		f.Text("name", "Åsa")
		f.TextOrNull("none", "")
		f.Plain("code", []byte("ab"))
		f.QuotedIntOrNull("other", 0)
		f.Time("at", 1772323199)
		f.Time("never", 0)
		f.Date("day", 1772323199)
		f.Value("list", []byte(`["1",{"a":null}]`))
		f.End()
	}
	var text, landed Fields
	text.JSON = append(text.JSON, '[')
	write(&text)
	write(&text)
	landed.Land()
	write(&landed)

	const record = `{"id":"7","n":-3,"on":"1","name":"Åsa","none":null,"code":"ab","other":null,` +
		`"at":"2026-02-28 23:59:59","never":null,"day":"2026-02-28","list":["1",{"a":null}]}`
	if diff := cmp.Diff("["+record+","+record, string(text.JSON)); diff != "" {
		t.Error(diff)
	}
	want := map[string]any{
		"id": int64(7), "n": int64(-3), "on": int64(1), "name": "Åsa", "none": nil, "code": "ab", "other": nil,
		"at": time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC), "never": nil,
		"day": time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC), "list": []any{"1", map[string]any{"a": nil}},
	}
	if diff := cmp.Diff(want, landed.Take()); diff != "" {
		t.Error(diff)
	}
}
