package plugin

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLastWordsKeepTheEndOrThePanic(t *testing.T) {
	t.Parallel()
	numbered := func(from, to int) (lines []string) {
		for i := from; i <= to; i++ {
			lines = append(lines, fmt.Sprint("line ", i))
		}
		return lines
	}
	long := strings.Repeat("x", maxWordBytes)
	for name, test := range map[string]struct{ lines, want []string }{
		"few lines":               {numbered(1, 3), numbered(1, 3)},
		"many lines":              {numbered(1, 50), numbered(31, 50)},
		"a long line":             {[]string{"short", long + "tail"}, []string{long}},
		"lines up to the limit":   {[]string{long[1:], "y", "z"}, []string{"y", "z"}},
		"a panic and its stack":   {append(append(numbered(1, 3), "panic: boom"), numbered(4, 50)...), append([]string{"panic: boom"}, numbered(4, 22)...)},
		"a panic while panicking": {[]string{"panic: one", "panic: two"}, []string{"panic: one", "panic: two"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var words lastWords
			for _, line := range test.lines {
				words.add(line)
			}
			if diff := cmp.Diff(test.want, words.lines()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLinesAreBoundedAndPartsAreJoined(t *testing.T) {
	t.Parallel()
	var got []string
	eachLine(strings.NewReader("one\n"+strings.Repeat("x", 3*maxLine)+"\ntwo\r\nthree"), func(line []byte) { got = append(got, string(line)) })
	if diff := cmp.Diff([]string{"one", strings.Repeat("x", maxLine), "two", "three"}, got); diff != "" {
		t.Error(diff)
	}

	got = nil
	w := &lineWriter{line: func(line []byte) { got = append(got, string(line)) }}
	for _, part := range []string{"on", "e\ntw", "o\n\n", strings.Repeat("x", maxLine+1), "rest"} {
		_, _ = w.Write([]byte(part))
	}
	_ = w.Close()
	if diff := cmp.Diff([]string{"one", "two", "", strings.Repeat("x", maxLine+1), "rest"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzLogLine(f *testing.F) {
	for _, line := range []string{
		`{"@message":"m","@level":"warn","@timestamp":"2026-03-01T00:00:00.000001Z","n":1,"g":{"x":[1.5,null]}}`,
		`{"@message": 1}`, `{"@message":"m","n":1e999}`, `{`, `null`, `panic: boom`, `{"@message":"m"} trailing`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(_ *testing.T, line []byte) {
		if entry, ok := parseLogLine(line); ok {
			logEntry(slog.New(slog.DiscardHandler), entry)
			_ = entryText(entry)
		}
	})
}
