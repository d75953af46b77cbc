package postgres

import (
	"encoding/binary"
	"testing"

	"github.com/zeebo/xxh3"
)

// sorted returns keys in their order, scattered in none.
func sorted(i int) []byte    { return binary.BigEndian.AppendUint64(nil, uint64(i)) }
func scattered(i int) []byte { return binary.BigEndian.AppendUint64(nil, xxh3.Hash(sorted(i))) }

func TestSeenKnowsKeysThatCameSorted(t *testing.T) {
	t.Parallel()
	const keys = mostWaiting + 100_000
	for name, key := range map[string]func(i int) []byte{
		"ascending":  sorted,
		"descending": func(i int) []byte { return sorted(keys - i) },
		"both ways":  func(i int) []byte { return sorted(keys + i*(i%2*2-1)) },
	} {
		var s seen
		for i := range keys {
			if s.add(key(i)) {
				t.Fatalf("%s: new key %d was taken for a known one", name, i)
			}
			if i%100_000 == 0 && !s.add(key(i-i%97)) { // also one that still waits
				t.Fatalf("%s: key %d was forgotten", name, i-i%97)
			}
		}
		for i := range keys {
			if !s.add(key(i)) {
				t.Fatalf("%s: key %d was forgotten", name, i)
			}
		}
	}
}

func TestSeenForgetsNothingAndRarelyErrs(t *testing.T) {
	t.Parallel()
	var s seen
	const keys = 1_000_000
	wrong := 0
	for i := range keys {
		if s.add(scattered(i)) {
			wrong++
		}
		if before := i / 2; !s.add(scattered(before)) {
			t.Fatalf("key %d was forgotten", before)
		}
	}
	if wrong > keys/100_000 {
		t.Errorf("%d of %d new keys were taken for known ones", wrong, keys)
	}
	size := 0
	for _, f := range s.filters {
		size += len(f) * 64
	}
	if size > 21<<20 {
		t.Errorf("%d bytes", size)
	}
}

// However many keys come sorted, they take no more memory; where they lie, each
// later one counts as known.
func TestSeenKeepsOfSortedKeysWhereTheyLie(t *testing.T) {
	t.Parallel()
	var s seen
	const keys = 3*mostWaiting + 1000
	key := func(i int) []byte { return sorted(10 * i) }
	for i := range keys {
		if s.add(key(i)) {
			t.Fatalf("new key %d was taken for a known one", i)
		}
	}
	if len(s.filters) > 0 || cap(s.waiting) > 2*mostWaiting {
		t.Errorf("%d filters, room for %d keys", len(s.filters), cap(s.waiting))
	}
	for i := range keys {
		if !s.add(key(i)) {
			t.Fatalf("key %d was forgotten", i)
		}
	}
	if !s.add(sorted(15)) {
		t.Error("a key that lies among those that were not kept is new")
	}
	if late := sorted(10*(keys-2) + 5); s.add(late) || !s.add(late) {
		t.Error("a key that lies among those that are kept is not told apart")
	}
}

func TestSeenStaysBoundedAndSoundBeyondItsRoom(t *testing.T) {
	t.Parallel()
	var s seen
	const keys = 3_000_000 // more than the last filter's share
	wrong := 0
	for i := range keys {
		if s.add(scattered(i)) {
			wrong++
		}
	}
	for i := 0; i < keys; i += 500 {
		if !s.add(scattered(i)) {
			t.Fatalf("key %d was forgotten", i)
		}
	}
	if len(s.filters) != len(filterBits) || wrong > keys/500 {
		t.Errorf("%d filters, %d wrong", len(s.filters), wrong)
	}
}
