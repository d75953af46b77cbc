package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/winchdata/winch/pkg/connector"
)

const (
	// keptKeys is how many bytes of keys a writer keeps before it puts them into
	// a table.
	keptKeys = 1 << 20
	// notAsked is how many chunks are staged without asking after one most of whose
	// rows differ: then to ask costs more than it saves.
	notAsked = 8
)

// asking is what a writer knows from asking the server which rows differ.
//
// Chunks are compared with what is at rest before anything of the part is written.
// That is right for keys that come for the first time in the attempt; the others
// are never filtered.
type asking struct {
	unchanged []byte // keys of rows found unchanged, as rows of a COPY; the older ones are in a table
	began     bool   // the writer relies on what it saw of the table
	commits   int64  // to the table, by any writer, when it began
	disturbed bool   // another writer has committed since
	skip      int    // chunks that are not asked about

	sparse bool     // keys are looked up one by one, not read by ranges
	bitmap []uint64 // of a chunk's rows: those that differ

	arrays [][]byte // parameters, kept for their memory
	rows   rowsByKey
}

// worthwhile reports whether to ask about the next chunk.
func (a *asking) worthwhile() bool {
	if a.skip == 0 {
		return true
	}
	a.skip--
	return false
}

var elementTypes = map[connector.Type]uint32{
	connector.TypeText:      pgtype.TextOID,
	connector.TypeBigint:    pgtype.Int8OID,
	connector.TypeNumeric:   pgtype.NumericOID,
	connector.TypeDouble:    pgtype.Float8OID,
	connector.TypeBoolean:   pgtype.BoolOID,
	connector.TypeDate:      pgtype.DateOID,
	connector.TypeTimestamp: pgtype.TimestamptzOID,
}

// keepDiffering asks which rows of the chunk differ from what is at rest and
// drops the others, whose keys it keeps.
func (w *writer) keepDiffering(ctx context.Context, c *chunk) error {
	commits := w.gate.commits.Load()
	a := &w.ask
	a.bitmap = slices.Grow(a.bitmap[:0], int(c.rows/64)+1)[:c.rows/64+1]
	for i := range a.bitmap {
		a.bitmap[i] = math.MaxUint64
	}
	if !a.sparse {
		dense := w.table.ordered()
		if dense {
			var err error
			if dense, err = w.compareRange(ctx, c); err != nil {
				return err
			}
		}
		a.sparse = !dense
	}
	if a.sparse {
		if err := w.lookUp(ctx, c); err != nil {
			return err
		}
	}
	if !a.began {
		a.began, a.commits = true, commits
	}
	differing := a.split(w.table, c)
	w.ask.skip = 0
	if 2*differing > c.rows {
		w.ask.skip = notAsked
	}
	w.part.unchanged += c.rows - differing
	c.rows = differing
	if len(w.ask.unchanged) > keptKeys && w.long {
		return w.spill(ctx)
	}
	return nil
}

// lookUp asks for each key of the chunk, and clears the rows that are at rest as
// they came from the bitmap.
func (w *writer) lookUp(ctx context.Context, c *chunk) error {
	params, types, formats := w.ask.parameters(w.table, c)
	clear(w.ask.bitmap)
	result := w.conn.Conn().PgConn().ExecParams(ctx, w.table.ask(), params, types, formats, []int16{pgtype.BinaryFormatCode})
	for result.NextRow() {
		n := binary.BigEndian.Uint64(result.Values()[0]) - 1
		w.ask.bitmap[n/64] |= 1 << (n % 64)
	}
	_, err := result.Close()
	return err
}

// parameters makes arrays of the chunk's keys, by column, and of its hashes. Their
// elements are encoded as in a COPY.
func (a *asking) parameters(t table, c *chunk) (params [][]byte, types []uint32, formats []int16) {
	n := len(t.key) + 1
	for len(a.arrays) < n {
		a.arrays = append(a.arrays, nil)
	}
	hash := len(t.columns) + 1
	for i := range n {
		element := uint32(pgtype.ByteaOID)
		if i < len(t.key) {
			element = elementTypes[t.columns[t.keyColumns[i]].Type]
		}
		// Dimensions, no nulls, type of the elements, how many, the first index.
		array := binary.BigEndian.AppendUint32(a.arrays[i][:0], 1)
		array = binary.BigEndian.AppendUint32(array, 0)
		array = binary.BigEndian.AppendUint32(array, element)
		array = binary.BigEndian.AppendUint32(array, uint32(c.rows))
		a.arrays[i] = binary.BigEndian.AppendUint32(array, 1)
		types, formats = append(types, 0), append(formats, pgtype.BinaryFormatCode)
	}
	c.eachRow(func(row []byte) {
		rest := row[2:]
		var first []byte
		for column := range hash + 1 {
			first, rest = field(rest)
			if column == hash {
				a.arrays[n-1] = append(a.arrays[n-1], first...)
				break
			}
			for i, k := range t.keyColumns {
				if k == column {
					a.arrays[i] = append(a.arrays[i], first...)
				}
			}
		}
	})
	return a.arrays[:n], types, formats
}

// split drops the rows that the bitmap does not have, keeps their keys, and returns
// how many rows are left.
func (a *asking) split(t table, c *chunk) (differing int64) {
	kept := c.data[:len(copyHeader)]
	n := 0
	c.eachRow(func(row []byte) {
		if a.bitmap[n/64]&(1<<(n%64)) != 0 {
			kept = append(kept, row...)
			differing++
		} else {
			a.keepRow(t, row)
		}
		n++
	})
	c.data = kept
	return differing
}

// keep keeps the keys of all rows of a chunk.
func (a *asking) keep(t table, c *chunk) {
	c.eachRow(func(row []byte) { a.keepRow(t, row) })
}

func (a *asking) keepRow(t table, row []byte) {
	a.unchanged = binary.BigEndian.AppendUint16(a.unchanged, uint16(len(t.key)))
	for _, k := range t.keyColumns {
		a.unchanged = append(a.unchanged, nth(row, k)...)
	}
}

// spill puts the keys that were kept into their table.
func (w *writer) spill(ctx context.Context) error {
	if len(w.ask.unchanged) == 0 {
		return nil
	}
	if err := w.createUnchanged(ctx); err != nil {
		return err
	}
	data := bytes.Join([][]byte{copyHeader, w.ask.unchanged, copyTrailer}, nil)
	_, err := w.conn.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(data), w.table.copyUnchanged())
	if w.long {
		w.ask.unchanged = w.ask.unchanged[:0]
	} // else the table goes with the transaction
	return err
}

func (w *writer) createUnchanged(ctx context.Context) error {
	if w.temps.unchanged {
		return nil
	}
	_, err := w.conn.Exec(ctx, w.table.createUnchanged(w.long))
	w.temps.unchanged = err == nil
	return err
}
