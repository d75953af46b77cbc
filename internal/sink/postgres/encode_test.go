package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

var numerics = []string{
	"0", "-0", "0.0", "0.00000", "1", "-1", "12.50", "-12.500", "9999", "10000", "10001", "99999999", "100000000",
	"9999999999999999", "99999999999999.9", "0.99999999999999", "-9.99999999999999", "10000000.0000", "10000000.00010",
	"0.1", "0.0001", "0.00001", "0.00010000", "0.000000000001", "1234567890.0987654321", "10000.0001", "20000000.00000002",
	"00012.3", "0.5", "5.", "-0.00000001", strings.Repeat("9", 300) + "." + strings.Repeat("1", 300), "1" + strings.Repeat("0", 100),
}

func FuzzNumericIsEncodedExactly(f *testing.F) {
	for _, literal := range numerics {
		f.Add(literal)
	}
	f.Fuzz(func(t *testing.T, literal string) {
		if strings.Trim(strings.TrimPrefix(literal, "-"), "0123456789.") != "" || strings.Count(literal, ".") > 1 || strings.Trim(literal, "-.") == "" || literal[0] == '.' {
			return // not a literal that a decoder gives
		}
		encoded, ok := appendNumeric([]byte("before"), []byte(literal))
		if !ok {
			integer, fraction, _ := strings.Cut(strings.TrimPrefix(literal, "-"), ".")
			if len(integer) <= maxIntegerDigits && len(fraction) <= maxFractionDigits {
				t.Fatalf("%q was refused", literal)
			}
			return
		}
		value := encoded[len("before")+4:]
		if got := int(binary.BigEndian.Uint32(encoded[len("before"):])); got != len(value) {
			t.Fatalf("%q: length %d of %d bytes", literal, got, len(value))
		}
		// The driver's decoder is the judge.
		var n pgtype.Numeric
		if err := pgtype.NewMap().Scan(pgtype.NumericOID, pgtype.BinaryFormatCode, value, &n); err != nil {
			t.Fatalf("%q: %v", literal, err)
		}
		want, _ := new(big.Rat).SetString(literal)
		got := new(big.Rat).SetInt(n.Int)
		scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n.Exp, -n.Exp))), nil))
		if n.Exp < 0 {
			got.Quo(got, scale)
		} else {
			got.Mul(got, scale)
		}
		if want.Cmp(got) != 0 {
			t.Errorf("%q became %s", literal, got)
		}
	})
}

func TestServerReadsNumericsAsTheyAreSpelled(t *testing.T) {
	t.Parallel()
	stream := connector.Stream{
		Name: "amounts", Mode: connector.ModeCursor, PrimaryKey: []string{"id"},
		Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "amount", Type: connector.TypeNumeric}},
	}
	address := migrated.Database(t)
	s := open(t, address)
	if _, err := s.Prepare(t.Context(), "shop", stream, ledger.SchemaEvolve); err != nil {
		t.Fatal(err)
	}
	a := attempt(1)
	a.Stream, a.Slice.Stream = stream, stream.Name
	w := begin(t, s, a)
	for i, literal := range numerics {
		if err := w.Record(fmt.Appendf(nil, `{"id":%d,"amount":%q}`, i, literal)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), connector.Usage{}); err != nil {
		t.Fatal(err)
	}
	for i, row := range query(t, address, "SELECT amount::text FROM shop.amounts ORDER BY id") {
		want := query(t, address, "SELECT $1::text::numeric::text", numerics[i])[0][0]
		if diff := cmp.Diff(want, row[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", numerics[i], diff)
		}
	}
}

func TestValuesBeyondTheTypesAreTheRecordsFault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ   connector.Type
		value record.Value
		ok    bool
	}{
		{connector.TypeDate, record.Value{Int: minDate + epochDays}, true},
		{connector.TypeDate, record.Value{Int: minDate + epochDays - 1}, false},
		{connector.TypeDate, record.Value{Int: maxDate + epochDays}, true},
		{connector.TypeDate, record.Value{Int: maxDate + epochDays + 1}, false},
		{connector.TypeDate, record.Value{Int: math.MinInt64}, false},
		{connector.TypeTimestamp, record.Value{Int: minTimestamp + epochMicros}, true},
		{connector.TypeTimestamp, record.Value{Int: minTimestamp + epochMicros - 1}, false},
		{connector.TypeTimestamp, record.Value{Int: math.MinInt64}, false},
		{connector.TypeTimestamp, record.Value{Int: math.MaxInt64}, true},
		{connector.TypeNumeric, record.Value{Bytes: []byte(strings.Repeat("1", maxIntegerDigits))}, true},
		{connector.TypeNumeric, record.Value{Bytes: []byte("1" + strings.Repeat("1", maxIntegerDigits))}, false},
		{connector.TypeNumeric, record.Value{Bytes: []byte("1." + strings.Repeat("1", maxFractionDigits))}, true},
		{connector.TypeNumeric, record.Value{Bytes: []byte("1.1" + strings.Repeat("1", maxFractionDigits))}, false},
	} {
		row := &record.Row{Values: []record.Value{c.value}}
		layout := newLayout([]connector.Column{{Name: "value", Type: c.typ}})
		_, err := layout.appendRow(nil, row, appendMark(nil, 1, time.Unix(0, 0)), 0)
		var bad *record.Error
		if c.ok != (err == nil) || err != nil && (!errors.As(err, &bad) || bad.Column != "value" || len(bad.Got) > 60) {
			t.Errorf("%s %d %.20s: %v", c.typ, c.value.Int, c.value.Bytes, err)
		}
	}
}

func TestBoundsAreTheServers(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), "CREATE TEMPORARY TABLE bounds (day date, at timestamptz)"); err != nil {
		t.Fatal(err)
	}
	takes := func(day, at int64) bool {
		b := append(slices.Clone(copyHeader), 0, 2, 0, 0, 0, 4)
		b = binary.BigEndian.AppendUint32(b, uint32(int32(day)))
		b = append(appendInt64(b, at), copyTrailer...)
		_, err := conn.PgConn().CopyFrom(t.Context(), bytes.NewReader(b), "COPY bounds FROM STDIN (FORMAT binary)")
		return err == nil
	}
	if !takes(minDate, minTimestamp) || !takes(maxDate, maxTimestamp) {
		t.Error("the server takes less")
	}
	if takes(minDate-1, 0) || takes(maxDate+1, 0) || takes(0, minTimestamp-1) || takes(0, maxTimestamp+1) {
		t.Error("the server takes more")
	}
}
