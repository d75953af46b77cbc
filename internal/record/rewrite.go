package record

import (
	"bytes"
	"unicode/utf8"

	"github.com/winchdata/winch/internal/jsonscan"
)

// appendCanonical appends the object b with every key once, at the place and
// with the value of its last occurrence, and written as appendQuoted would. That
// is done where columns lie; the values of other keys are kept as they stand.
// Keys that spell a lone surrogate keep their spelling.
func (d *Decoder) appendCanonical(dst, b []byte, n *node) ([]byte, error) {
	type member struct {
		key   string
		value []byte // nil if the key comes again
	}
	var members []member
	last := map[string]int{}
	err := jsonscan.Object(b, func(key, value []byte) error {
		key, err := canonicalKey(key)
		if err != nil {
			return err
		}
		if i, ok := last[string(key)]; ok {
			members[i].value = nil
		}
		last[string(key)] = len(members)
		members = append(members, member{string(key), value})
		return nil
	})
	if err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	for _, m := range members {
		if m.value == nil {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(append(dst, m.key...), ':')
		if i, ok := n.index[m.key]; ok && len(n.members[i].members) > 0 && m.value[0] == '{' {
			if dst, err = d.appendCanonical(dst, m.value, n.members[i]); err != nil {
				return nil, err
			}
		} else {
			dst = append(dst, m.value...)
		}
	}
	return append(dst, '}'), nil
}

func canonicalKey(key []byte) ([]byte, error) {
	if bytes.IndexByte(key, '\\') < 0 && utf8.Valid(key) {
		return key, nil
	}
	s, exact, err := jsonscan.UnquoteExact(nil, key)
	if err != nil {
		return nil, err
	}
	if !exact && bytes.IndexByte(key, '\\') >= 0 {
		return appendRepaired(nil, key), nil
	}
	return appendQuoted(nil, s), nil
}

// appendOpen appends the object text without what Secret columns read in it.
func (n *node) appendOpen(dst, text []byte) ([]byte, error) {
	dst = append(dst, '{')
	err := jsonscan.Object(text, func(key, value []byte) error {
		var m *node
		if i, ok := n.index[string(key)]; ok {
			m = n.members[i]
		}
		if m != nil && m.secret {
			return nil
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(append(dst, key...), ':')
		if m == nil || !m.hides || value[0] != '{' {
			dst = append(dst, value...)
			return nil
		}
		var err error
		dst, err = m.appendOpen(dst, value)
		return err
	})
	return append(dst, '}'), err
}

// A keySet holds the hashes of the keys that one record brought.
type keySet struct {
	slots []uint64 // open addressing, 0 is free, at most half full
	count int
}

// add reports whether h is new. Different keys of the same hash cost a rewrite of
// the record and nothing else.
func (k *keySet) add(h uint64) bool {
	h |= 1
	if 2*(k.count+1) > len(k.slots) {
		old := k.slots
		k.slots = make([]uint64, max(32, 2*len(old)))
		for _, h := range old {
			if h != 0 {
				k.slots[k.free(h)] = h
			}
		}
	}
	i := k.free(h)
	if k.slots[i] == h {
		return false
	}
	k.slots[i] = h
	k.count++
	return true
}

// free returns the slot of h, or the free one where it belongs.
func (k *keySet) free(h uint64) int {
	mask := len(k.slots) - 1
	i := int(h>>1) & mask
	for k.slots[i] != 0 && k.slots[i] != h {
		i = (i + 1) & mask
	}
	return i
}

// reset empties the set. One wide record does not make every later one clear
// its many slots.
func (k *keySet) reset() {
	if k.count > 0 {
		clear(k.slots)
	}
	if len(k.slots) > 32 && 8*k.count < len(k.slots) {
		k.slots = k.slots[:len(k.slots)/2]
	}
	k.count = 0
}
