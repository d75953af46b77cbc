package bench

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// pageSize is how many records a page has.
const pageSize = 1000

// versions is how often each record has changed, by its number modulo 100.
type versions [100]int

// change changes so many of each hundred records.
func (v *versions) change(percent int) {
	for i := range percent {
		v[i]++
	}
}

// appendRecord appends the i-th record: 12 fields, about 350 bytes, random but for
// its key, the same each time until it is changed.
func appendRecord(dst []byte, i int, v *versions) []byte {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	at := time.Date(2026, time.January, 1, 0, 0, i%86400, 0, time.UTC)
	return fmt.Appendf(dst, `{"id":%d,"uuid":"%08x-%04x-4%03x-a%03x-%012x","status":"%s","channel":"%s","customer":"customer %d",`+
		`"created_at":"%s","updated_at":"%s","amount":"%d.%02d","quantity":%d,"active":%t,`+
		`"address":{"city":"city %d","zip":"%05d","country":"SE"},"tags":["a%d","b%d","c%d"]}`,
		i, r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48),
		[]string{"open", "confirmed", "shipped", "delivered"}[r.IntN(4)], []string{"web", "phone", "store"}[r.IntN(3)], r.IntN(100_000),
		at.Format(time.RFC3339), at.Add(time.Duration(r.IntN(1e6))*time.Second).Format(time.RFC3339Nano),
		r.IntN(100_000), r.IntN(100), r.IntN(50)+50*v[i%len(v)], r.IntN(2) == 0,
		r.IntN(1000), r.IntN(100_000), r.IntN(100), r.IntN(100), r.IntN(100))
}

// servePages serves rows records in pages of pageSize at /records?page=N, from
// memory, and prints its address. /change?percent=N changes records between two
// pulls. It ends with its standard input.
func servePages(rows int) error {
	var version versions
	pages := make([][]byte, (rows+pageSize-1)/pageSize)
	render := func() {
		for n := range pages {
			page := append(pages[n][:0], `{"records":[`...)
			for i := n * pageSize; i < min((n+1)*pageSize, rows); i++ {
				if i > n*pageSize {
					page = append(page, ',')
				}
				page = appendRecord(page, i, &version)
			}
			pages[n] = append(page, "]}"...)
		}
	}
	render()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // ends when the benchmark does
		listener.Close()
	}()
	fmt.Printf("http://%s\n", listener.Addr())
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if percent, err := strconv.Atoi(r.URL.Query().Get("percent")); err == nil {
			version.change(percent)
			render()
			return
		}
		page, err := strconv.Atoi(r.URL.Query().Get("page"))
		switch {
		case err != nil || page < 0:
			w.WriteHeader(http.StatusBadRequest)
		case page >= len(pages):
			_, _ = w.Write([]byte(`{"records":[]}`))
		default:
			_, _ = w.Write(pages[page])
		}
	}))
}
