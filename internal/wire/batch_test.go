package wire

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
)

// FuzzBatch compares the reading of a message with that of the generated code.
func FuzzBatch(f *testing.F) {
	for _, m := range []*connectorpb.PullResponse{
		{},
		{Records: []byte("abcdef"), Lengths: []uint32{1, 2, 3}, Checkpoint: []byte("{}"), Usage: &connectorpb.Usage{Requests: 1}},
		{Records: []byte("abc"), Lengths: []uint32{1<<32 - 1, 4}},
		{Records: []byte("abc"), Lengths: []uint32{2}},
		{Checkpoint: []byte{}},
	} {
		message, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message, uint8(0))
		f.Add(message, uint8(1))
		f.Add(message, uint8(5))
	}
	f.Add([]byte{0x10, 3, 0x10, 4, 0x0a, 7, 1, 2, 3, 4, 5, 6, 7}, uint8(2)) // lengths that are not packed
	f.Fuzz(func(t *testing.T, message []byte, size uint8) {
		var want connectorpb.PullResponse
		var got batch
		if proto.Unmarshal(message, &want) != nil || got.decode(inPieces(message, int(size))) != nil {
			return
		}
		arrived := got.arrived
		records, err := arrived.take(arrived.left)
		if err != nil || !bytes.Equal(want.GetRecords(), records) || !slices.Equal(want.GetLengths(), got.lengths) ||
			!bytes.Equal(want.Checkpoint, got.checkpoint) || (want.Checkpoint == nil) != (got.checkpoint == nil) {
			t.Fatalf("%v read as %+v", &want, got)
		}
		var emitted []byte
		sum := uint64(0)
		for _, n := range got.lengths {
			sum += uint64(n)
		}
		err = got.emit(sink{record: func(raw []byte) error {
			emitted = append(emitted, raw...)
			return nil
		}})
		if fits := sum == uint64(len(want.GetRecords())); fits != (err == nil) || fits && !bytes.Equal(emitted, want.GetRecords()) {
			t.Errorf("%q in lengths %v: %q emitted, %v", want.GetRecords(), got.lengths, emitted, err)
		}
	})
}

// inPieces cuts a message into pieces of a size; 0 leaves it whole.
func inPieces(message []byte, size int) (p pieces) {
	if size == 0 {
		size = max(len(message), 1)
	}
	for piece := range slices.Chunk(message, size) {
		p.add(piece)
	}
	return p
}

func TestBatchIsWhatTheGeneratedCodeReads(t *testing.T) {
	t.Parallel()
	want := &connectorpb.PullResponse{Records: []byte("abcdef"), Lengths: []uint32{1, 300, 0}, Checkpoint: []byte{}, Usage: &connectorpb.Usage{Requests: 1, RenewedOn_401: 2}}
	buffer := buffers.Get(6)
	copy(*buffer, "abcdef")
	message, err := newCodec().Marshal(&batch{
		buffer: buffer, records: *buffer, lengths: []uint32{1, 300, 0}, checkpoint: []byte{}, usage: connector.Usage{Requests: 1, RenewedOn401: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := &connectorpb.PullResponse{}
	if err := proto.Unmarshal(message.Materialize(), got); err != nil || !proto.Equal(want, got) {
		t.Errorf("%v, %v", got, err)
	}
	message.Free()
}
