package record

import "encoding/binary"

// A name is a key with its quotes and the colon that follows it. Most are short
// enough to be compared as two words, and most records have the expected key where
// it is looked for.
type name struct {
	text string
	size int // of text if it is short, else 0
	word [2]uint64
	mask [2]uint64
}

const wordSize = 8

func newName(quoted string) name {
	n := name{text: quoted + ":"}
	if len(n.text) > 2*wordSize {
		return n
	}
	n.size = len(n.text)
	var text, mask [2 * wordSize]byte
	copy(text[:], n.text)
	for i := range n.text {
		mask[i] = 0xff
	}
	for i := range n.word {
		n.word[i] = binary.LittleEndian.Uint64(text[i*wordSize:])
		n.mask[i] = binary.LittleEndian.Uint64(mask[i*wordSize:])
	}
	return n
}

// end returns the end of the name if it stands at b[i], else 0.
func (n *name) end(b []byte, i int) int {
	if n.size > 0 && i <= len(b)-2*wordSize {
		first := binary.LittleEndian.Uint64(b[i:]) ^ n.word[0]
		second := binary.LittleEndian.Uint64(b[i+wordSize:]) ^ n.word[1]
		if first&n.mask[0]|second&n.mask[1] != 0 {
			return 0
		}
		return i + n.size
	}
	if end := i + len(n.text); end <= len(b) && string(b[i:end]) == n.text {
		return end
	}
	return 0
}
