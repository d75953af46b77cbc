package sinktest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// halfBrake lets half of the rows vanish, and any four.
var halfBrake = &ledger.Brake{Share: 0.5, Rows: 5}

// wantBraked commits and expects that the brake holds, with the given numbers.
func wantBraked(t *testing.T, w sink.Writer, rows, of int64) {
	t.Helper()
	_, err := w.Commit(t.Context(), connector.Usage{})
	var vanished *ledger.Vanished
	if !errors.As(err, &vanished) || vanished.Rows != rows || vanished.Of != of {
		t.Fatalf("commit: %v, want %d of %d rows vanished", err, rows, of)
	}
	var fault *sink.Error
	if errors.As(err, &fault) {
		t.Errorf("%v is told as a fault of the store", err)
	}
	if err := w.Close(); err != nil {
		t.Error("close:", err)
	}
}

var brakeCases = map[string]func(*testing.T, Harness){
	"a snapshot that lacks too many rows changes nothing": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		var ten []string
		for i := range 10 {
			ten = append(ten, fmt.Sprintf(`{"id":%d,"name":"old"}`, i))
		}
		s.land(t, attempt(1, customers, whole), ten...)
		rows := s.rows(t, "customers", append(added, "id", "name")...)
		entry := s.entries(t, source)[0]

		a := attempt(2, customers, whole)
		a.Brake = halfBrake
		w := s.begin(t, a)
		emit(t, w, `{"id":1,"name":"new"}`, `{"id":99,"name":"new"}`)
		wantBraked(t, w, 9, 10)
		s.wantRows(t, "customers", append(added, "id", "name"), rows...)
		s.wantEntry(t, entry)

		// What has vanished long ago does not count again, and half may go.
		a = attempt(3, customers, whole)
		a.Brake = halfBrake
		w = s.begin(t, a)
		emit(t, w, ten[:5]...)
		wantCounts(t, ledger.Counts{Rows: 5, Unchanged: 5, Deleted: 5}, commit(t, w))
		a = attempt(4, customers, whole)
		a.Brake = halfBrake
		w = s.begin(t, a)
		emit(t, w, ten[0])
		wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1, Deleted: 4}, commit(t, w))
	},

	"a window that came back nearly empty changes nothing": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		var ten []string
		for i := range 10 {
			ten = append(ten, call(fmt.Sprint("c", i), day(0).Since, i))
		}
		s.land(t, attempt(1, calls, day(0)), ten...)
		s.land(t, attempt(1, calls, day(1)), call("other", day(1).Since, 1))
		before := s.rows(t, "calls", "id", "seconds")

		a := attempt(2, calls, day(0))
		a.Brake = halfBrake
		w := s.begin(t, a)
		emit(t, w, ten[0])
		wantBraked(t, w, 9, 10)
		s.wantRows(t, "calls", []string{"id", "seconds"}, before...)

		// Checkpoints of the attempt stay, as with any failure; what they wrote is
		// not taken for vanished.
		w = s.begin(t, a)
		emit(t, w, ten[:3]...)
		checkpoint(t, w, `{"page":2}`)
		wantBraked(t, w, 7, 10)
		s.wantRows(t, "calls", []string{"id", "seconds"}, before...)
		w = s.begin(t, a)
		emit(t, w, ten[:2]...)
		checkpoint(t, w, `{"page":2}`)
		emit(t, w, ten[2:6]...)
		wantCounts(t, ledger.Counts{Rows: 6, Unchanged: 6, Deleted: 4}, commit(t, w))
	},

	"a window whose rows have other keys passes": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		for run, prefix := range []string{"a", "b"} {
			a := attempt(int64(run+1), calls, day(0))
			a.Brake = halfBrake
			w := s.begin(t, a)
			for i := range 10 {
				emit(t, w, call(fmt.Sprint(prefix, i), day(0).Since, i))
			}
			commit(t, w)
		}
		if n := len(s.rows(t, "calls", "id")); n != 10 {
			t.Errorf("%d rows, want 10", n)
		}
	},
}
