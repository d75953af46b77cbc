package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/zeebo/xxh3"

	"github.com/winchdata/winch/pkg/connector"
)

// sparse is how many rows at rest may lie, in the order of keys, between a chunk's
// first and last for each row of the chunk. Beyond that it is cheaper to look each
// key up.
const sparse = 4

// ordered reports whether the encoded values of the key compare here as they do
// on the server. Text of keys does: its collation is "C".
func (t table) ordered() bool {
	for _, k := range t.keyColumns {
		switch t.columns[k].Type {
		case connector.TypeText, connector.TypeBigint, connector.TypeDate, connector.TypeTimestamp:
		default: // equal numerics and doubles may be encoded differently
			return false
		}
	}
	return true
}

// compareKeys compares two keys, each the encoded values of an ordered key.
func (t table) compareKeys(a, b []byte) int {
	for _, k := range t.keyColumns {
		var x, y []byte
		x, a = field(a)
		y, b = field(b)
		x, y = x[4:], y[4:]
		if t.columns[k].Type != connector.TypeText {
			// Two's complement: of different signs the negative one is less.
			if sign := int(y[0]>>7) - int(x[0]>>7); sign != 0 {
				return sign
			}
		}
		if c := bytes.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// rowsByKey finds the rows of a chunk.
type rowsByKey struct {
	keys   [][]byte // by row: the values of its key, encoded
	hashes [][]byte // by row: its hash, encoded
	slots  []int32  // row + 1 at its key's hash or in a slot after it
	data   []byte   // keys of several columns
}

func (r *rowsByKey) fill(t table, c *chunk) {
	size := 64
	for size < 2*int(c.rows) {
		size *= 2
	}
	r.keys, r.hashes, r.data = r.keys[:0], r.hashes[:0], r.data[:0]
	r.slots = slices.Grow(r.slots[:0], size)[:size]
	clear(r.slots)
	c.eachRow(func(row []byte) {
		key, hash := r.read(t, row)
		for at := xxh3.Hash(key); ; at++ {
			if slot := &r.slots[at%uint64(size)]; *slot == 0 {
				*slot = int32(len(r.keys) + 1)
				break
			}
		}
		r.keys, r.hashes = append(r.keys, key), append(r.hashes, hash)
	})
}

// read returns a row's key and hash, encoded.
func (r *rowsByKey) read(t table, row []byte) (key, hash []byte) {
	hash = nth(row, len(t.columns)+1) // after _extra
	if len(t.keyColumns) == 1 {
		return nth(row, t.keyColumns[0]), hash
	}
	from := len(r.data)
	for _, k := range t.keyColumns {
		r.data = append(r.data, nth(row, k)...)
	}
	return r.data[from:len(r.data):len(r.data)], hash
}

// nth returns a field of a row, its length word included.
func nth(row []byte, n int) (first []byte) {
	rest := row[2:]
	for range n + 1 {
		first, rest = field(rest)
	}
	return first
}

// find returns the row of a key, or -1.
func (r *rowsByKey) find(key []byte) int {
	for at := xxh3.Hash(key); ; at++ {
		slot := r.slots[at%uint64(len(r.slots))]
		if slot == 0 || bytes.Equal(r.keys[slot-1], key) {
			return int(slot) - 1
		}
	}
}

// compareRange reads what is at rest between the first and the last key of the
// chunk and clears the rows that are there as they came from the bitmap. It
// reports false if too much is at rest there.
func (w *writer) compareRange(ctx context.Context, c *chunk) (bool, error) {
	rows := &w.ask.rows
	rows.fill(w.table, c)
	least, most := rows.keys[0], rows.keys[0]
	for _, key := range rows.keys[1:] {
		if w.table.compareKeys(key, least) < 0 {
			least = key
		} else if w.table.compareKeys(key, most) > 0 {
			most = key
		}
	}
	limit := sparse*c.rows + 1
	params, formats := [][]byte{binary.BigEndian.AppendUint64(nil, uint64(limit))}, []int16{pgtype.BinaryFormatCode}
	for _, key := range [][]byte{least, most} {
		for range w.table.keyColumns {
			var value []byte
			value, key = field(key)
			params, formats = append(params, value[4:]), append(formats, pgtype.BinaryFormatCode)
		}
	}
	result := w.conn.Conn().PgConn().ExecParams(ctx, w.table.atRestBetween(), params, nil, formats, []int16{pgtype.BinaryFormatCode})
	var key []byte
	n := int64(0)
	for result.NextRow() {
		values := result.Values()
		last := len(values) - 1
		key = key[:0]
		for _, v := range values[:last] {
			key = appendBytes(key, v)
		}
		if i := rows.find(key); i >= 0 && bytes.Equal(rows.hashes[i][4:], values[last]) {
			w.ask.bitmap[i/64] &^= 1 << (i % 64)
		}
		n++
	}
	_, err := result.Close()
	return n < limit, err
}
