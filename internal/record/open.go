package record

import (
	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/pkg/connector"
)

// AppendOpen appends what may be kept of a record that cannot become a row: the
// record without what Secret columns read (P10). Where the stream has none it is
// the text as it stands, whatever it is; otherwise a text that is not a JSON
// object is an *Error, since nobody can tell what is secret in it.
func (d *Decoder) AppendOpen(dst, raw []byte) ([]byte, error) {
	if !d.root.hides {
		return append(dst, raw...), nil
	}
	if i := jsonscan.SkipSpace(raw, 0); i >= len(raw) || raw[i] != '{' {
		return dst, notObject(raw)
	}
	canonical, err := d.appendCanonical(nil, raw, d.root)
	if err != nil {
		return dst, wholeError(err)
	}
	open, err := d.root.appendOpen(dst, canonical)
	if err != nil {
		return dst, wholeError(err)
	}
	return open, nil
}

// KeyStream returns the stream with nothing but the columns of its primary key.
// A decoder of it reads the key of a record whose other columns are at fault;
// AppendKey gives the same bytes by both.
func KeyStream(stream connector.Stream) connector.Stream {
	key := connector.Stream{Name: stream.Name, Mode: stream.Mode, PrimaryKey: stream.PrimaryKey}
	for _, name := range stream.PrimaryKey {
		if c, ok := stream.Column(name); ok {
			key.Columns = append(key.Columns, c)
		}
	}
	return key
}
