package wire

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
)

// A batch is the message PullResponse, read and written by hand. The generated
// code would copy all records once more on either side and leave a megabyte of
// garbage behind each message, for a quarter of the boundary's cost.
type batch struct {
	buffer     *[]byte         // of records, when they are to be sent
	records    []byte          // to be sent
	received   mem.BufferSlice // in which arrived lies
	frames     [][]byte        // its parts
	arrived    pieces          // records that were received
	lengths    []uint32
	checkpoint []byte // not nil if there is one
	usage      connector.Usage
}

// The fields of PullResponse.
const (
	fieldRecords    protowire.Number = 1
	fieldLengths    protowire.Number = 2
	fieldCheckpoint protowire.Number = 3
	fieldUsage      protowire.Number = 4
)

// buffers are for what crosses the boundary.
var buffers = bufferPool{}

const (
	// bufferSize is that of a buffer in which a message of maxBatch fits.
	bufferSize = 1 << 20
	// frameSize is that of the frames of HTTP/2 in which gRPC sends it.
	frameSize = 16 << 10
)

// A bufferPool is a mem.BufferPool that, unlike gRPC's own, does not clear what
// is about to be overwritten.
type bufferPool struct{ frames, messages sync.Pool }

// of returns the pool for a length and the size of its buffers, or nil.
func (p *bufferPool) of(length int) (*sync.Pool, int) {
	switch {
	case length <= frameSize:
		return &p.frames, frameSize
	case length <= bufferSize:
		return &p.messages, bufferSize
	}
	return nil, length
}

func (p *bufferPool) Get(length int) *[]byte {
	pool, size := p.of(length)
	if pool != nil {
		if b, ok := pool.Get().(*[]byte); ok {
			*b = (*b)[:length]
			return b
		}
	}
	b := make([]byte, size)[:length]
	return &b
}

func (p *bufferPool) Put(b *[]byte) {
	if pool, size := p.of(cap(*b)); pool != nil && cap(*b) == size {
		pool.Put(b)
	}
}

// codec is gRPC's own for all messages but batches.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal hands the buffer of a batch over to gRPC, which gives it back to the
// pool when it has been sent.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*batch)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	var message mem.BufferSlice
	if len(b.records) > 0 {
		head := protowire.AppendTag(nil, fieldRecords, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(len(b.records)))
		*b.buffer = b.records
		message = append(message, mem.SliceBuffer(head), mem.NewBuffer(b.buffer, &buffers))
		b.buffer, b.records = nil, nil
	}
	tail, err := b.appendTail(make([]byte, 0, 64+len(b.checkpoint)+frameBytes*len(b.lengths)))
	if err != nil {
		message.Free()
		return nil, err
	}
	return append(message, mem.SliceBuffer(tail)), nil
}

// appendTail appends all fields but the records.
func (b *batch) appendTail(tail []byte) ([]byte, error) {
	if len(b.lengths) > 0 {
		size := 0
		for _, n := range b.lengths {
			size += protowire.SizeVarint(uint64(n))
		}
		tail = protowire.AppendTag(tail, fieldLengths, protowire.BytesType)
		tail = protowire.AppendVarint(tail, uint64(size))
		for _, n := range b.lengths {
			tail = protowire.AppendVarint(tail, uint64(n))
		}
	}
	if b.checkpoint != nil {
		tail = protowire.AppendTag(tail, fieldCheckpoint, protowire.BytesType)
		tail = protowire.AppendBytes(tail, b.checkpoint)
	}
	if usage := encodeUsage(b.usage); usage != nil {
		encoded, err := protobuf.Marshal(usage)
		if err != nil {
			return nil, err
		}
		tail = protowire.AppendTag(tail, fieldUsage, protowire.BytesType)
		tail = protowire.AppendBytes(tail, encoded)
	}
	return tail, nil
}

// Unmarshal lets a batch refer to the received bytes until its next use or its
// release.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*batch)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	b.release()
	data.Ref()
	b.received = data
	message := pieces{joined: b.arrived.joined, next: b.frames}
	for _, buffer := range data {
		message.add(buffer.ReadOnlyData())
	}
	b.frames = message.next
	return b.decode(message)
}

// release gives back what was received; records are no longer valid.
func (b *batch) release() {
	b.received.Free()
	clear(b.frames)
	*b = batch{lengths: b.lengths[:0], frames: b.frames[:0], arrived: pieces{joined: b.arrived.joined}}
}

func (b *batch) decode(message pieces) error {
	for message.left > 0 {
		field, kind, length, err := message.head()
		if err != nil {
			return err
		}
		switch {
		case field == fieldRecords && kind == protowire.BytesType:
			b.arrived = message
			err = b.arrived.cut(length)
			message.skip(length)
		case kind == protowire.BytesType || kind == protowire.VarintType && field == fieldLengths: // not packed, which the format allows
			var value []byte
			if value, err = message.take(length); err == nil {
				err = b.set(field, value)
			}
		default: // a field of a later version
			_, err = message.take(length)
		}
		if err != nil {
			return err
		}
	}
	b.arrived.joined = message.joined
	return nil
}

func (b *batch) set(field protowire.Number, value []byte) error {
	switch field {
	case fieldLengths:
		for len(value) > 0 {
			length, n := protowire.ConsumeVarint(value)
			if n < 0 {
				return protowire.ParseError(n)
			}
			if length > maxMessage {
				return errFraming
			}
			b.lengths = append(b.lengths, uint32(length))
			value = value[n:]
		}
	case fieldCheckpoint:
		b.checkpoint = append([]byte{}, value...) // a cursor outlives its batch
	case fieldUsage:
		var usage connectorpb.Usage
		if err := protobuf.Unmarshal(value, &usage); err != nil {
			return fmt.Errorf("usage: %w", err)
		}
		b.usage = decodeUsage(&usage)
	default: // a field of a later version
	}
	return nil
}

var errGroup = errors.New("the connector's batch has a group")

var errFraming = errors.New("the connector's batch and the lengths of its records do not fit")

// emit takes a batch apart. A record is part of the batch, or good until the next.
func (b *batch) emit(out connector.Emitter) error {
	rest := b.arrived
	for _, length := range b.lengths {
		raw, err := rest.take(int(length))
		if err != nil {
			return errFraming
		}
		if err := out.Record(raw); err != nil {
			return err
		}
	}
	b.arrived.joined = rest.joined
	if rest.left > 0 {
		return errFraming
	}
	if b.checkpoint != nil {
		return out.Checkpoint(b.checkpoint)
	}
	return nil
}
