package record_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

// typical is a stream of 12 fields, and typicalRecord one of its records, of
// about 350 bytes.
func typical(t testing.TB) *record.Decoder {
	return newDecoder(t,
		connector.Column{Name: "uuid", Type: connector.TypeText},
		connector.Column{Name: "name", Type: connector.TypeText},
		connector.Column{Name: "email", Type: connector.TypeText, Personal: true},
		connector.Column{Name: "created_at", Type: connector.TypeTimestamp},
		connector.Column{Name: "updated_at", Type: connector.TypeTimestamp},
		connector.Column{Name: "amount", Type: connector.TypeNumeric},
		connector.Column{Name: "currency", Type: connector.TypeText},
		connector.Column{Name: "active", Type: connector.TypeBoolean},
		connector.Column{Name: "address", Type: connector.TypeJSON},
		connector.Column{Name: "tags", Type: connector.TypeJSON},
		connector.Column{Name: "note", Type: connector.TypeText},
	)
}

const typicalRecord = `{"id":1000001,"uuid":"5f0c7f52-9c1b-4a63-8d55-2f3c1c0a9e11","name":"Customer 1000001","email":"customer1000001@example.com",` +
	`"created_at":"2024-03-05T12:34:56.123456Z","updated_at":"2024-06-01T00:00:00Z","amount":"1234.50","currency":"SEK","active":true,` +
	`"address":{"street":"Main Street 1","city":"Stockholm","zip":"111 22"},"tags":["a","b","c"],"note":"a short note"}`

// messyRecord needs decoding, expansion, repair and extra.
const messyRecord = `{"id":"12","created_at":"2024-03-05T12:34:56.5+02:00","name":"a\n\u00e9\u0000","amount":1.5e3,"new":[1,{"x":"é"}],"tags":["\u0000"],"active":"Yes","newer":null}`

func TestDecodeAllocatesNothing(t *testing.T) {
	d := typical(t)
	var row record.Row
	var key []byte
	raws := [][]byte{[]byte(typicalRecord), []byte(messyRecord)}
	n := testing.AllocsPerRun(100, func() {
		for _, raw := range raws {
			if err := d.Decode(raw, &row); err != nil {
				t.Error(err)
			}
			key = d.AppendKey(key[:0], &row)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for two records", n)
	}
}

func TestRowKeepsNothingOfTheRecordBefore(t *testing.T) {
	t.Parallel()
	d := typical(t)
	var used record.Row
	for _, raw := range []string{typicalRecord, messyRecord, `{"note":"n","id":1}`, typicalRecord, `{"id":1,"x":1}`, `{"id":"no"}`, `{"id":2}`} {
		var fresh record.Row
		input := []byte(raw)
		usedErr, freshErr := d.Decode(input, &used), d.Decode([]byte(raw), &fresh)
		if (usedErr == nil) != (freshErr == nil) {
			t.Fatalf("%s: %v, %v", raw, usedErr, freshErr)
		}
		if freshErr != nil {
			continue
		}
		if diff := cmp.Diff(fresh.Values, used.Values); diff != "" {
			t.Errorf("%s: values: %s", raw, diff)
		}
		if !bytes.Equal(fresh.Extra, used.Extra) || fresh.Hash != used.Hash {
			t.Errorf("%s: extra %s, want %s", raw, used.Extra, fresh.Extra)
		}
		for i := range input {
			input[i] = '!' // after which the row is good for the next record only
		}
	}
}

func TestRowMayServeSeveralDecoders(t *testing.T) {
	t.Parallel()
	wide, narrow := typical(t), newDecoder(t)
	var row record.Row
	for range 2 {
		for d, want := range map[*record.Decoder]int{wide: 12, narrow: 1} {
			if err := d.Decode([]byte(typicalRecord), &row); err != nil || len(row.Values) != want {
				t.Errorf("%d values, %v, want %d", len(row.Values), err, want)
			}
		}
	}
}

func TestDecoderServesSeveralGoroutines(t *testing.T) {
	t.Parallel()
	d := typical(t)
	var want record.Row
	if err := d.Decode([]byte(typicalRecord), &want); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			var row record.Row
			for range 200 {
				if err := d.Decode([]byte(typicalRecord), &row); err != nil || row.Hash != want.Hash {
					t.Error(err, row.Hash)
				}
				if err := d.Decode([]byte(messyRecord), &row); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

func hashOf(t *testing.T, d *record.Decoder, raw string) string {
	t.Helper()
	var row record.Row
	if err := d.Decode([]byte(raw), &row); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(row.Hash[:])
}

func TestHashIsOfWhatIsStored(t *testing.T) {
	t.Parallel()
	d := newDecoder(t,
		connector.Column{Name: "a", Type: connector.TypeText},
		connector.Column{Name: "b", Type: connector.TypeText},
		connector.Column{Name: "n", Type: connector.TypeNumeric},
		connector.Column{Name: "f", Type: connector.TypeDouble},
	)
	for _, c := range []struct {
		left, right string
		same        bool
	}{
		{`{"id":1,"a":"x"}`, ` {"a":"\u0078" , "id":"1","b":null}`, true},
		{`{"id":1,"n":1.50}`, `{"id":1,"n":"150e-2"}`, true},
		{`{"id":1,"n":1.50}`, `{"id":1,"n":1.5}`, false},
		{`{"id":1,"a":"x"}`, `{"id":1,"b":"x"}`, false},
		{`{"id":1,"a":"x","b":"y"}`, `{"id":1,"a":"xy","b":""}`, false},
		{`{"id":1,"a":""}`, `{"id":1}`, false},
		{`{"id":1,"z":1}`, `{"id":1,"z":2}`, false},
		{`{"id":1,"z":1}`, `{"id":1}`, false},
		{`{"id":1,"f":1}`, `{"id":1,"f":1.0000000000000002}`, false},
		{`{"id":1}`, `{"id":2}`, false},
	} {
		if got := hashOf(t, d, c.left) == hashOf(t, d, c.right); got != c.same {
			t.Errorf("%s and %s have the same hash: %v, want %v", c.left, c.right, got, c.same)
		}
	}
	// Rows at rest hold hashes of earlier versions: a change here reads every
	// row as changed once.
	if got, want := hashOf(t, typical(t), typicalRecord), "3aea93ffac1b1381cbe920abd76f512f"; got != want {
		t.Errorf("the hash of the typical record is %s, was %s", got, want)
	}
}

func TestNewNullColumnLeavesHashes(t *testing.T) {
	t.Parallel()
	before := newDecoder(t, connector.Column{Name: "a", Type: connector.TypeText})
	after := newDecoder(t, connector.Column{Name: "new", Type: connector.TypeText}, connector.Column{Name: "a", Type: connector.TypeText})
	retyped := newDecoder(t, connector.Column{Name: "a", Type: connector.TypeNumeric})
	const raw = `{"id":1,"a":"1"}`
	if hashOf(t, before, raw) != hashOf(t, after, raw) {
		t.Error("a null column that is new changes the hash")
	}
	if hashOf(t, before, raw) == hashOf(t, retyped, raw) {
		t.Error("another type has the same hash")
	}
}

func TestKeysAreEqualWhenTheirBytesAre(t *testing.T) {
	t.Parallel()
	stream := connector.Stream{Name: "things", PrimaryKey: []string{"t", "u", "n", "d", "i"}}
	for name, typ := range map[string]connector.Type{"d": connector.TypeDouble, "i": connector.TypeBigint, "n": connector.TypeNumeric, "t": connector.TypeText, "u": connector.TypeText} {
		stream.Columns = append(stream.Columns, connector.Column{Name: name, Type: typ})
	}
	d, err := record.NewDecoder(stream)
	if err != nil {
		t.Fatal(err)
	}
	for k, i := range d.KeyColumns() {
		if got := d.Columns()[i].Name; got != stream.PrimaryKey[k] {
			t.Errorf("key column %d is %s", k, got)
		}
	}
	key := func(t, u, n, f, i string) string {
		return fmt.Sprintf(`{"t":%q,"u":%q,"n":%s,"d":%s,"i":%s}`, t, u, n, f, i)
	}
	var row record.Row
	seen := map[string]string{}
	for _, same := range [][]string{
		{key("a", "b", "1.5", "0", "1"), key("a", "b", "1.500", "-0.0", "1"), key("a", "b", `"15e-1"`, "0e5", `"1"`)},
		{key("a", "b", "100", "0", "1"), key("a", "b", "100.00", "0", "1"), key("a", "b", "1e2", "0", "1")},
		{key("a", "b", "10", "0", "1")},
		{key("a", "b", "0", "0", "1"), key("a", "b", "-0.00", "0", "1")},
		{key("a", "b", "1.5", "0", "-1")},
		{key("a", "b", "1.5", "1", "1")},
		{key("ab", "", "1.5", "0", "1")},
		{key("", "ab", "1.5", "0", "1")},
	} {
		var first string
		for i, raw := range same {
			if err := d.Decode([]byte(raw), &row); err != nil {
				t.Fatal(err)
			}
			got := string(d.AppendKey(nil, &row))
			if i == 0 {
				first = got
				if other, ok := seen[got]; ok {
					t.Errorf("%s and %s have the same key", raw, other)
				}
				seen[got] = raw
			}
			if got != first {
				t.Errorf("%s and %s have different keys", raw, same[0])
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, raw := range map[string]string{"typical": typicalRecord, "messy": messyRecord, "repeated key": `{"id":1,` + typicalRecord[1:]} {
		b.Run(name, func(b *testing.B) {
			d := typical(b)
			var row record.Row
			text := []byte(raw)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(text, &row); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeMany decodes records that differ, more of them than caches hold,
// as a pull does.
func BenchmarkDecodeMany(b *testing.B) {
	d := typical(b)
	var raws [][]byte
	var all []byte
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	for i := range 1 << 16 {
		from := len(all)
		all = fmt.Appendf(all, `{"id":%d,"uuid":"%08x-%04x-4%03x-a%03x-%012x","name":"Customer %d","email":"customer%d@example.com",`+
			`"created_at":"%s","updated_at":"%s","amount":"%d.%02d","currency":"%s","active":%t,`+
			`"address":{"street":"Main Street %d","city":"%s","zip":"%05d"},"tags":["a%d","b%d","c"],"note":"%s"}`,
			i, r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48), r.IntN(100_000), r.IntN(100_000),
			at.Add(time.Duration(i)*time.Second).Format(time.RFC3339), at.Add(time.Duration(r.IntN(1e12))*time.Microsecond).Format(time.RFC3339Nano),
			r.IntN(100_000), r.IntN(100), []string{"SEK", "EUR", "NOK"}[r.IntN(3)], r.IntN(2) == 0,
			r.IntN(1000), []string{"Lund", "Stockholm", "Oslo"}[r.IntN(3)], r.IntN(100_000), r.IntN(100), r.IntN(100), "a short note, and more"[:r.IntN(22)])
		raws = append(raws, all[from:len(all):len(all)])
	}
	var row record.Row
	b.SetBytes(int64(len(all) / len(raws)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := d.Decode(raws[i%len(raws)], &row); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
