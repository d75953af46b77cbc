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
		f.Add(message)
	}
	f.Add([]byte{0x10, 3, 0x10, 4, 0x0a, 7, 1, 2, 3, 4, 5, 6, 7}) // lengths that are not packed
	f.Fuzz(func(t *testing.T, message []byte) {
		var want connectorpb.PullResponse
		var got batch
		if proto.Unmarshal(message, &want) != nil || got.decode(message) != nil {
			return
		}
		if !bytes.Equal(want.GetRecords(), got.records) || !slices.Equal(want.GetLengths(), got.lengths) ||
			!bytes.Equal(want.Checkpoint, got.checkpoint) || (want.Checkpoint == nil) != (got.checkpoint == nil) {
			t.Fatalf("%v read as %+v", &want, got)
		}
		total, sum := 0, uint64(0)
		for _, n := range got.lengths {
			sum += uint64(n)
		}
		err := got.emit(sink{record: func(raw []byte) error {
			total += len(raw)
			return nil
		}})
		if fits := sum == uint64(len(got.records)); fits != (err == nil) || fits && total != len(got.records) {
			t.Errorf("%d bytes in lengths %v: %d emitted, %v", len(got.records), got.lengths, total, err)
		}
	})
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
