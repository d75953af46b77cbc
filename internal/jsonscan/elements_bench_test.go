package jsonscan_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/winchdata/winch/internal/jsonscan"
)

// BenchmarkElements splits a page of records whose strings are of many lengths.
func BenchmarkElements(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	words := func(n int) string { return strings.Repeat("word ", 20)[:r.IntN(n)] }
	var page strings.Builder
	page.WriteString(`{"records":[`)
	for i := range 1000 {
		if i > 0 {
			page.WriteByte(',')
		}
		fmt.Fprintf(&page, `{"id":%d,"uuid":"%032x","status":"%s","name":"%s","at":"2026-01-01T00:00:00Z","amount":"%d.%02d","quantity":%d,"active":%t,`+
			`"address":{"city":"%s","zip":"%05d"},"tags":["%s","%s"],"note":"%s"}`, i, r.Uint64(), words(10), words(30), r.IntN(100_000), r.IntN(100),
			r.IntN(50), r.IntN(2) == 0, words(20), r.IntN(100_000), words(5), words(5), words(90))
	}
	page.WriteString("]}")
	text := []byte(page.String())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	all := make([][]byte, 0, 1000)
	for b.Loop() {
		var err error
		if all, _, err = jsonscan.Elements(all[:0], text, "records"); err != nil || len(all) != 1000 {
			b.Fatal(len(all), err)
		}
	}
}
