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
	buffer     *[]byte    // of records, when they are to be sent
	received   mem.Buffer // in which records lie, when they were received
	records    []byte
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
	b.received = data.MaterializeToBuffer(&buffers)
	return b.decode(b.received.ReadOnlyData())
}

// release gives back what was received; records are no longer valid.
func (b *batch) release() {
	if b.received != nil {
		b.received.Free()
	}
	*b = batch{lengths: b.lengths[:0]}
}

func (b *batch) decode(message []byte) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var value []byte
		switch {
		case kind == protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
		case kind == protowire.VarintType && field == fieldLengths: // not packed, which the format allows
			_, n = protowire.ConsumeVarint(message)
			value = message[:max(n, 0)]
		default:
			field, n = 0, protowire.ConsumeFieldValue(field, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := b.set(field, value); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) set(field protowire.Number, value []byte) error {
	switch field {
	case fieldRecords:
		b.records = value
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

var errFraming = errors.New("the connector's batch and the lengths of its records do not fit")

// emit takes a batch apart. The records are parts of the batch, not copies.
func (b *batch) emit(out connector.Emitter) error {
	rest := b.records
	for _, length := range b.lengths {
		if uint64(length) > uint64(len(rest)) {
			return errFraming
		}
		if err := out.Record(rest[:length:length]); err != nil {
			return err
		}
		rest = rest[length:]
	}
	if len(rest) > 0 {
		return errFraming
	}
	if b.checkpoint != nil {
		return out.Checkpoint(b.checkpoint)
	}
	return nil
}
