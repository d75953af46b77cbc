package postgres

import (
	"bytes"
	"math/bits"
	"runtime"
	"slices"

	"github.com/zeebo/xxh3"
)

// seen remembers keys by their hashes in bounded memory. It never forgets one;
// sometimes it takes a new key for a known one. It is a blocked Bloom filter: a
// key's bits lie in one cache line. When one filter holds its share of keys a
// larger one follows, up to the last, which only gets less sharp.
//
// A key beyond all before it, above or below, is new without a look at the
// filters, as all are of a vendor that sorts by key. Such keys wait until a look
// is needed, which it never is for most slices. Then each is a cache miss, and
// those of a loop overlap. When so many came in order that they may not wait any
// longer, only where they lie is kept: so memory does not grow with a sorted slice.
// A later key that lies there counts as known.
type seen struct {
	low, high []byte // between them, inclusive, are all keys
	from, to  []byte // between them, inclusive, are those that were not kept; nil at first
	waiting   []uint64
	filters   []filter
	room      int // keys that the last filter still takes at its sharpness
}

const (
	// mostWaiting is how many keys wait for the filters at most, in 1 MiB.
	mostWaiting = 1 << 17
	// together is how many of them go into the filters at a time.
	together = 256
)

type block [8]uint64

type filter []block

// filterBits are the sizes of the filters: 64 KiB, 512 KiB, 4 MiB, 16 MiB. With
// bitsPerKey bits for each key about one new key in 10^7 is taken for a known one,
// up to 2.7 million keys; beyond that it is one in 1000 at eight million.
var filterBits = [...]uint{19, 22, 25, 27}

const bitsPerKey = 64

// add remembers a key and reports whether it may have been there before.
func (s *seen) add(key []byte) (maybe bool) {
	hash := xxh3.Hash(key)
	if s.extend(key) {
		if s.waiting = append(s.waiting, hash); len(s.waiting) == mostWaiting {
			s.cease()
		}
		return false
	}
	if s.to != nil && bytes.Compare(key, s.from) >= 0 && bytes.Compare(key, s.to) <= 0 {
		return true
	}
	s.settle()
	for _, f := range s.filters {
		if f.has(hash) {
			return true
		}
	}
	s.set(hash)
	return false
}

// cease ends the waiting of as many keys as may wait.
func (s *seen) cease() {
	if len(s.filters) > 0 {
		s.settle()
		return
	}
	s.from, s.to = append(s.from[:0], s.low...), append(s.to[:0], s.high...)
	s.waiting = s.waiting[:0]
}

// extend reports whether a key lies beyond all before it, which it then does not
// any more.
func (s *seen) extend(key []byte) bool {
	switch {
	case s.high == nil:
		s.low, s.high = append([]byte{}, key...), append([]byte{}, key...)
	case bytes.Compare(key, s.high) > 0:
		s.high = append(s.high[:0], key...)
	case bytes.Compare(key, s.low) < 0:
		s.low = append(s.low[:0], key...)
	default:
		return false
	}
	return true
}

// settle brings the keys that wait into the filters.
func (s *seen) settle() {
	for some := range slices.Chunk(s.waiting, together) {
		if n := len(s.filters); n > 0 {
			s.filters[n-1].touch(some)
		}
		for _, hash := range some {
			s.set(hash)
		}
	}
	s.waiting = s.waiting[:0]
}

func (s *seen) set(hash uint64) {
	if s.room == 0 && len(s.filters) < len(filterBits) {
		size := filterBits[len(s.filters)]
		s.filters = append(s.filters, make(filter, 1<<(size-9)))
		s.room = 1 << size / bitsPerKey
	}
	s.room = max(0, s.room-1)
	s.filters[len(s.filters)-1].set(hash)
}

// touch brings the blocks of many keys near: loads that do not depend on each other
// wait for the memory together.
func (f filter) touch(hashes []uint64) {
	var any uint64
	for _, hash := range hashes {
		any |= f[f.block(hash)][0]
	}
	runtime.KeepAlive(any)
}

// block is where the hash's block is. The number of blocks is a power of two.
func (f filter) block(hash uint64) uint64 { return hash >> 32 & uint64(len(f)-1) }

// at returns the hash's block and its eight bits there: one in each word.
func (f filter) at(hash uint64) (*block, uint64) {
	high, low := bits.Mul64(hash, 0x9E3779B97F4A7C15)
	return &f[f.block(hash)], high ^ low
}

func (f filter) set(hash uint64) {
	b, mix := f.at(hash)
	for i := range b {
		b[i] |= 1 << (mix & 63)
		mix >>= 6
	}
}

func (f filter) has(hash uint64) bool {
	b, mix := f.at(hash)
	for i := range b {
		if b[i]&(1<<(mix&63)) == 0 {
			return false
		}
		mix >>= 6
	}
	return true
}
