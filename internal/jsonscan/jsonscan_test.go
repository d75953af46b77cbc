package jsonscan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/jsonscan"
)

// texts are JSON and almost JSON: the table tests and the fuzz targets start
// from them.
var texts = []string{
	`0`, `-0`, `-`, `01`, `1.`, `.5`, `1.5`, `1e5`, `1E+5`, `1e-5`, `1e`, `1e+`, `-1.25e-10`, `+1`, `1_0`, `0x1`, `--1`,
	`12345678901234567890123456789`, `1.0.0`, `NaN`, `Infinity`,
	`true`, `false`, `null`, `tru`, `truee`, `True`, `nul`, `falsy`, ``, ` `, "\t1\n", "\v1", "\ufeff1", "1 2",
	`""`, `"a"`, `"`, `"a`, `"\"`, `"\""`, `"\\"`, `"\/\b\f\n\r\t"`, `"\x"`, `"\u00e9"`, `"\u00E9"`, `"\u00g0"`, `"\u00"`, `"\U0000"`,
	`"\ud83d\ude00"`, `"\ud800"`, `"\udc00"`, `"\ud800x"`, `"\ud800\ud83d\ude00"`, `"\ud800\n"`, `"\u0000"`, `'a'`,
	"\"\x00\"", "\"\x1f\"", "\"\n\"", "\"\x7f\"", "\"\xff\"", "\"a\xc3\"", "\"\xed\xa0\x80\"", `"grün 日本 😀"`,
	`"0123456"`, `"01234567"`, `"012345678"`, `"01234567\n89abcdef"`, "\"01234567\n89abcdef\"", "\"0123456\x1f\"", `"0123456é01234567"`,
	`{}`, `{ }`, `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a" : 1 , "b" : [ ] }`, `{,}`, `{"a":1 "b":2}`, `{"a":1}}`, `{"a":{"b":{"c":[1,{"d":null}]}}}`,
	`{"a":1,"a":2}`, `{"\u0061":1}`, `{"":0}`, `{`, `{"a":1`, `{"a":1]`,
	`[]`, `[ ]`, `[1]`, `[1,]`, `[,1]`, `[1 2]`, `[1,[2,[3]]]`, `[`, `[1`, `[1}`, `]`, `}`, `,`, `:`,
	`[true,false,null,"x",-1.5e+3,{}]`, strings.Repeat("[", 500) + strings.Repeat("]", 500),
}

func TestValidAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, text := range texts {
		if got, want := jsonscan.Valid([]byte(text)) == nil, json.Valid([]byte(text)); got != want {
			t.Errorf("Valid(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestValueLeavesWhatFollows(t *testing.T) {
	t.Parallel()
	b := []byte(` {"a":1} , "x"`)
	start, end, err := jsonscan.Value(b, 0)
	if err != nil || string(b[start:end]) != `{"a":1}` {
		t.Fatalf("Value = %q, %v", b[start:end], err)
	}
	start, end, err = jsonscan.Value(b, end+2)
	if err != nil || string(b[start:end]) != `"x"` {
		t.Fatalf("Value = %q, %v", b[start:end], err)
	}
	if _, _, err = jsonscan.Value(b, end); err == nil {
		t.Error("Value found something after the end")
	}
}

func TestNestingIsLimited(t *testing.T) {
	t.Parallel()
	nest := func(depth int) []byte {
		return []byte(strings.Repeat(`[{"a":`, depth/2) + "1" + strings.Repeat("}]", depth/2))
	}
	if err := jsonscan.Valid(nest(jsonscan.MaxDepth)); err != nil {
		t.Error(err)
	}
	if err := jsonscan.Valid(nest(jsonscan.MaxDepth + 2)); err == nil {
		t.Error("a text beyond the limit was accepted")
	}
	nothing := func(_, _ []byte) error { return nil }
	object := func(depth int) []byte {
		return []byte(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth))
	}
	if err := jsonscan.Object(object(jsonscan.MaxDepth), nothing); err != nil {
		t.Error(err)
	}
	if err := jsonscan.Object(object(jsonscan.MaxDepth+1), nothing); err == nil {
		t.Error("Object accepted a text beyond the limit")
	}
}

func TestFaultsAreLocated(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                "invalid JSON at byte 0: want a value",
		`{"a":1 "b":2}`:   "invalid JSON at byte 7: want a comma or the end of the object",
		`{"a" 1}`:         "invalid JSON at byte 5: want a colon after the object key",
		`{"a":1,}`:        "invalid JSON at byte 7: want a quoted object key",
		`[1,2`:            "invalid JSON at byte 4: want a comma or the end of the array",
		`[1.x]`:           "invalid JSON at byte 3: want a digit",
		`"ab\x"`:          "invalid JSON at byte 3: unknown escape in a string",
		"\"ab\ncd\"":      "invalid JSON at byte 3: unescaped control character in a string",
		`["abcdefghijklm`: "invalid JSON at byte 15: a string is not closed",
		`nil`:             "invalid JSON at byte 0: want true, false or null",
		`{} x`:            "invalid JSON at byte 3: want the end of the text",
	} {
		err := jsonscan.Valid([]byte(text))
		var syntax *jsonscan.SyntaxError
		if !errors.As(err, &syntax) || err.Error() != want {
			t.Errorf("Valid(%q) = %v, want %s", text, err, want)
		}
	}
}

func TestObjectGivesMembersAsTheyStand(t *testing.T) {
	t.Parallel()
	var got []string
	err := jsonscan.Object([]byte(" { \"a\" : 1.50 ,\"\\u0062\":{ \"x\":[] }, \"a\":null} \n"), func(key, value []byte) error {
		got = append(got, string(key)+"="+string(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`"a"=1.50`, `"\u0062"={ "x":[] }`, `"a"=null`}, got); diff != "" {
		t.Error(diff)
	}
}

func TestArrayGivesElementsAsTheyStand(t *testing.T) {
	t.Parallel()
	var got []string
	err := jsonscan.Array([]byte(` [ 1 , [ 2 ],"]" ,{}] `), func(value []byte) error {
		got = append(got, string(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`1`, `[ 2 ]`, `"]"`, `{}`}, got); diff != "" {
		t.Error(diff)
	}
}

func TestCallbackErrorEndsTheScan(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	calls := 0
	err := jsonscan.Object([]byte(`{"a":1,"b":2}`), func(_, _ []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("Object: %v after %d calls", err, calls)
	}
	err = jsonscan.Array([]byte(`[1,2]`), func([]byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 2 {
		t.Errorf("Array: %v after %d calls", err, calls)
	}
}

func TestWrongContainerIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `1`, `[1]`, `null`, `{"a":1} {}`} {
		if jsonscan.Object([]byte(text), func(_, _ []byte) error { return nil }) == nil {
			t.Errorf("Object accepted %q", text)
		}
	}
	for _, text := range []string{``, `1`, `{}`, `null`, `[1] []`} {
		if jsonscan.Array([]byte(text), func([]byte) error { return nil }) == nil {
			t.Errorf("Array accepted %q", text)
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	const text = ` {"a":{"b":1,"b":[2]},"é":3,"\u0061":{"b":{"c":4}},"x\"y":5,"e":null} `
	for _, c := range []struct {
		path []string
		want string
		ok   bool
	}{
		{[]string{"a", "b", "c"}, "4", true}, // the escaped duplicate of "a" came last
		{[]string{"a", "b"}, `{"c":4}`, true},
		{[]string{"é"}, "3", true},
		{[]string{`x"y`}, "5", true},
		{[]string{`x\"y`}, "", false},
		{[]string{"e"}, "null", true},
		{[]string{"e", "f"}, "", false},
		{[]string{"é", "f"}, "", false},
		{[]string{"none"}, "", false},
		{nil, text[1 : len(text)-1], true},
	} {
		got, ok, err := jsonscan.Lookup([]byte(text), c.path...)
		if err != nil || ok != c.ok || string(got) != c.want {
			t.Errorf("Lookup(%q) = %q, %v, %v, want %q", c.path, got, ok, err, c.want)
		}
	}
	if _, _, err := jsonscan.Lookup([]byte(`{"a":1,"b":tru}`), "a"); err == nil {
		t.Error("a fault after the value was not seen")
	}
	if _, _, err := jsonscan.Lookup([]byte(`{"a":1}x`), "a"); err == nil {
		t.Error("a fault after the object was not seen")
	}
}

func TestUnquote(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		quoted, want string
		exact        bool
	}{
		{`""`, "", true},
		{`"plain"`, "plain", true},
		{`"a\"b\\c\/d\b\f\n\r\t"`, "a\"b\\c/d\b\f\n\r\t", true},
		{`"\u00e9\u0000\uFFFD"`, "é\x00\ufffd", true},
		{`"\ud83d\ude00"`, "😀", true},
		{`"\ud800"`, "\ufffd", false},
		{`"\ud800\u0041"`, "\ufffdA", false},
		{`"\ud800\ud83d\ude00"`, "\ufffd😀", false},
		{`"\udc00x"`, "\ufffdx", false},
		{"\"a\xff\xfeb\\n\"", "a\ufffd\ufffdb\n", false},
		{"\"\xc3\\u00e9\"", "\ufffdé", false},
		{"\"é \ufffd\"", "é \ufffd", true},
	} {
		got, exact, err := jsonscan.UnquoteExact([]byte("<"), []byte(c.quoted))
		if err != nil || string(got) != "<"+c.want || exact != c.exact {
			t.Errorf("UnquoteExact(%s) = %q, %v, %v, want %q, %v", c.quoted, got, exact, err, c.want, c.exact)
		}
	}
	for _, bad := range []string{``, `"`, `a`, `"a`, `"a"b`, `"\q"`, `"\u12"`, "\"\n\"", `null`} {
		if _, err := jsonscan.Unquote(nil, []byte(bad)); err == nil {
			t.Errorf("Unquote accepted %q", bad)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	text := []byte(record)
	dst := make([]byte, 0, 1024)
	quoted := []byte(`"a\u00e9b\n日本"`)
	n := testing.AllocsPerRun(100, func() {
		members := 0
		err := jsonscan.Object(text, func(_, value []byte) error {
			members += len(value)
			return nil
		})
		_, _, lookupErr := jsonscan.Lookup(text, "address", "city")
		_, unquoteErr := jsonscan.Unquote(dst, quoted)
		if err != nil || lookupErr != nil || unquoteErr != nil || members == 0 {
			t.Error(err, lookupErr, unquoteErr)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const record = `{"id":1000001,"uuid":"5f0c7f52-9c1b-4a63-8d55-2f3c1c0a9e11","name":"Customer 1000001","email":"customer1000001@example.com",` +
	`"created_at":"2024-03-05T12:34:56.123456Z","updated_at":"2024-06-01T00:00:00Z","amount":"1234.50","currency":"SEK","active":true,` +
	`"address":{"street":"Main Street 1","city":"Stockholm","zip":"111 22"},"tags":["a","b","c"],"note":"a short note about nothing"}`

func BenchmarkValue(b *testing.B) {
	text := []byte(record)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := jsonscan.Value(text, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkArrayOfRecords(b *testing.B) {
	text := []byte("[" + strings.Repeat(record+",", 999) + record + "]")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := jsonscan.Array(text, func([]byte) error { n++; return nil }); err != nil || n != 1000 {
			b.Fatal(n, err)
		}
	}
}
