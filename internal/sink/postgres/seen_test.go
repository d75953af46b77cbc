package postgres

import (
	"encoding/binary"
	"testing"

	"github.com/zeebo/xxh3"
)

func keyHash(i int) uint64 {
	return xxh3.Hash(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func TestSeenForgetsNothingAndRarelyErrs(t *testing.T) {
	t.Parallel()
	var s seen
	const keys = 1_000_000
	wrong := 0
	for i := range keys {
		if s.add(keyHash(i)) {
			wrong++
		}
		if before := i / 2; !s.add(keyHash(before)) {
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

func TestSeenStaysBoundedAndSoundBeyondItsRoom(t *testing.T) {
	t.Parallel()
	var s seen
	const keys = 3_000_000 // more than the last filter's share
	wrong := 0
	for i := range keys {
		if s.add(keyHash(i)) {
			wrong++
		}
	}
	for i := 0; i < keys; i += 500 {
		if !s.add(keyHash(i)) {
			t.Fatalf("key %d was forgotten", i)
		}
	}
	if len(s.filters) != len(filterBits) || wrong > keys/500 {
		t.Errorf("%d filters, %d wrong", len(s.filters), wrong)
	}
}
