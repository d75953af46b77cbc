package wire

import (
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// pieces are bytes in the frames in which they came. To join the frames of a
// message would move every record once more.
type pieces struct {
	piece  []byte // what is left of the current one
	next   [][]byte
	left   int    // bytes in all
	joined []byte // what take has joined last
}

func (p *pieces) add(piece []byte) {
	p.next = append(p.next, piece)
	p.left += len(piece)
}

// cut leaves the first n bytes.
func (p *pieces) cut(n int) error {
	if n < 0 || n > p.left {
		return io.ErrUnexpectedEOF
	}
	p.left = n
	return nil
}

// take returns the next n bytes: those of a piece as they lie there, others joined
// until the next call.
func (p *pieces) take(n int) ([]byte, error) {
	if n < 0 || n > p.left {
		return nil, io.ErrUnexpectedEOF
	}
	if n <= len(p.piece) {
		taken := p.piece[:n:n]
		p.piece, p.left = p.piece[n:], p.left-n
		return taken, nil
	}
	p.joined = p.joined[:0]
	p.each(n, func(part []byte) { p.joined = append(p.joined, part...) })
	return p.joined, nil
}

// skip leaves out the next n bytes, of which there are as many.
func (p *pieces) skip(n int) { p.each(n, func([]byte) {}) }

// each calls f with the parts of the next n bytes.
func (p *pieces) each(n int, f func(part []byte)) {
	for p.left -= n; n > 0; {
		if len(p.piece) == 0 {
			p.piece, p.next = p.next[0], p.next[1:]
			continue
		}
		part := p.piece[:min(n, len(p.piece))]
		p.piece = p.piece[len(part):]
		n -= len(part)
		f(part)
	}
}

// maxHead is what a tag and a length take at most.
const maxHead = 2 * 10

// head reads what stands before the value of a protobuf field, and returns how long
// the value is.
func (p *pieces) head() (field protowire.Number, kind protowire.Type, length int, err error) {
	ahead := *p
	head, err := ahead.take(min(maxHead, p.left))
	if err != nil {
		return 0, 0, 0, err
	}
	p.joined = ahead.joined
	field, kind, n := protowire.ConsumeTag(head)
	if n < 0 {
		return 0, 0, 0, protowire.ParseError(n)
	}
	switch kind {
	case protowire.BytesType:
		size, m := protowire.ConsumeVarint(head[n:])
		if m < 0 {
			return 0, 0, 0, protowire.ParseError(m)
		}
		if size > uint64(p.left) {
			return 0, 0, 0, io.ErrUnexpectedEOF
		}
		n, length = n+m, int(size)
	case protowire.VarintType:
		if _, length = protowire.ConsumeVarint(head[n:]); length < 0 {
			return 0, 0, 0, protowire.ParseError(length)
		}
	case protowire.Fixed32Type:
		length = 4
	case protowire.Fixed64Type:
		length = 8
	default: // groups, which no version has
		return 0, 0, 0, errGroup
	}
	p.skip(n)
	return field, kind, length, nil
}
