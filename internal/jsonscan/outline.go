package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// block is how many bytes are looked at together: a bit of a word for each.
const block = 64

// objects appends the objects that follow each other in an array, the first of
// which begins at b[i], and returns the end of the last one. An object ends where
// its brackets and the quotes of its strings say; it is not validated. It stops
// short of what is no object, not separated by a comma, or near the end of b.
func objects(dst [][]byte, b []byte, i int) (elements [][]byte, end int) {
	var (
		within  uint64 // all ones in a string, else 0
		escaped uint64 // 1 if the first byte of a block is escaped
		depth   int
		start   = i
	)
	end = i
	for at := i; at+block <= len(b); at += block {
		quotes, brackets, slashes := outline((*[block]byte)(b[at:]))
		if slashes|escaped != 0 {
			var behind uint64
			behind, escaped = escapes(slashes, escaped)
			quotes &^= behind
		}
		// Each quote turns all bits above it over: those in strings are left set.
		within ^= prefixXor(quotes)
		structural := brackets &^ within
		within = uint64(int64(within) >> (block - 1))
		for ; structural != 0; structural &= structural - 1 {
			here := at + bits.TrailingZeros64(structural)
			switch b[here] {
			case '{', '[':
				if depth == 0 {
					if here != i && !follows(b, end, here) {
						return dst, end
					}
					start = here
				}
				depth++
			case '}', ']':
				switch depth--; {
				case depth < 0:
					return dst, end
				case depth == 0:
					end = here + 1
					dst = appendElement(dst, b, start, end)
				}
			}
		}
	}
	return dst, end
}

// follows reports whether an object begins at b[here] and only a comma is between
// it and b[end].
func follows(b []byte, end, here int) bool {
	if end = SkipSpace(b, end); b[end] != ',' || b[here] != '{' {
		return false
	}
	return SkipSpace(b, end+1) == here
}

// outlineByWords marks the quotes, the brackets and the backslashes of a block: bit
// i stands for byte i. Among the brackets may be bytes that have no place in JSON
// outside of strings.
func outlineByWords(b *[block]byte) (quotes, brackets, slashes uint64) {
	for i := 0; i < block; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quotes |= gather(zeros(x^lowBits*'"')) << i
		// The brackets are alike but for these bits.
		brackets |= gather(zeros((x|lowBits*0x26)^lowBits*0x7f)) << i
		slashes |= gather(zeros(x^lowBits*'\\')) << i
	}
	return quotes, brackets, slashes
}

// escapes marks the bytes of a block that its backslashes escape; escaped is 1 if
// its first byte is, and then if that of the next one is.
func escapes(slashes, escaped uint64) (behind, next uint64) {
	behind = escaped
	for slashes &^= escaped; slashes != 0; {
		slash := slashes & -slashes
		behind |= slash << 1
		next = slash >> (block - 1)
		slashes &^= slash | slash<<1
	}
	return behind, next
}

// zeros sets the high bit of each byte that is zero, and no other bit.
func zeros(x uint64) uint64 {
	return ^((x&^highBits + ^uint64(highBits)) | x) & highBits
}

// gather brings the high bits of eight bytes together, the lowest byte's first.
func gather(high uint64) uint64 {
	return high >> 7 * 0x0102040810204080 >> 56
}

// prefixXor sets each bit to the parity of the bits up to it.
func prefixXor(x uint64) uint64 {
	for shift := 1; shift < block; shift *= 2 {
		x ^= x << shift
	}
	return x
}
