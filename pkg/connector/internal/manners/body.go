package manners

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/winchdata/winch/pkg/connector"
)

// AcceptEncoding is what a request must say for ReadBody to count and bound the
// bytes on the wire: http.Transport would hide them if it decompressed.
const AcceptEncoding = "gzip"

// A TooLargeError says that a body is longer than it may be.
type TooLargeError struct{ Limit int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the answer is larger than %d bytes", e.Limit)
}

// ReadBody reads the body of resp, decompressed, and closes it. At most limit
// bytes are read, on the wire as well as after decompression; beyond is a
// *TooLargeError. A body that ends before its declared length is
// io.ErrUnexpectedEOF. The bytes on the wire are recorded as usage of ctx.
func ReadBody(ctx context.Context, resp *http.Response, limit int64) ([]byte, error) {
	defer resp.Body.Close()
	if resp.ContentLength > limit {
		return nil, &TooLargeError{limit} // no need to read it to know
	}
	wire := &countingReader{r: io.LimitReader(resp.Body, limit+1)}
	defer func() { connector.RecordUsage(ctx, connector.Usage{Bytes: wire.n}) }()

	var body io.Reader = wire
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		unzipped, err := gzip.NewReader(wire)
		if errors.Is(err, io.EOF) {
			return nil, nil // HEAD, 204 and 304 have no body to decompress
		}
		if err != nil {
			return nil, notGzip(err)
		}
		body = unzipped
	case "br", "zstd", "deflate", "compress":
		return nil, fmt.Errorf("%w: %s", ErrEncoding, encoding)
	default:
		return nil, ErrEncoding
	}
	buf := newBuffer(min(resp.ContentLength, limit))
	if _, err := buf.ReadFrom(io.LimitReader(body, limit+1)); err != nil {
		if wire.n > limit {
			return nil, &TooLargeError{limit}
		}
		return nil, notGzip(err)
	}
	if int64(buf.Len()) > limit || wire.n > limit {
		return nil, &TooLargeError{limit}
	}
	usual.Store(int64(buf.Len()))
	if buf.Len() < buf.Cap()/2 { // a caller who keeps it does not keep the rest
		small := bytes.Clone(buf.Bytes())
		Reuse(buf.Bytes())
		return small, nil
	}
	return buf.Bytes(), nil
}

// usual is the length of the last body, in bytes: pages of a list are alike, and a
// buffer that is too small is copied each time it grows.
var usual atomic.Int64

// free are buffers for bodies to come.
var free sync.Pool

// maxFree is the capacity, in bytes, up to which a buffer is kept.
const maxFree = 4 << 20

// newBuffer returns one for a body of a length, in bytes; -1 if it is unknown.
func newBuffer(length int64) *bytes.Buffer {
	if length < 0 {
		length = usual.Load()
		length += length / 8
	}
	size := int(min(length, 8<<20)) + bytes.MinRead // what the vendor declares may be too much
	if buf, ok := free.Get().(*bytes.Buffer); ok {
		buf.Grow(size)
		return buf
	}
	return bytes.NewBuffer(make([]byte, 0, size))
}

// Reuse gives the memory of a body to others. Nobody may use it after.
func Reuse(body []byte) {
	if cap(body) > bytes.MinRead && cap(body) <= maxFree {
		free.Put(bytes.NewBuffer(body[:0]))
	}
}

// ErrEncoding is a body in an encoding that was not asked for.
var ErrEncoding = errors.New("the answer came in an encoding that was not asked for")

// notGzip turns what gzip says of damaged bytes into what it means: the body did
// not arrive as it was sent.
func notGzip(err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return fmt.Errorf("%w (damaged gzip)", io.ErrUnexpectedEOF)
	}
	return err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Unreadable reports whether an error of ReadBody says that reading the same
// answer again would end the same way.
func Unreadable(err error) bool {
	var tooLarge *TooLargeError
	return errors.As(err, &tooLarge) || errors.Is(err, ErrEncoding)
}

// HTML reports whether an answer is a page for people.
func HTML(h http.Header, body []byte) bool {
	mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return len(body) > 0 && strings.EqualFold(strings.TrimSpace(mediaType), "text/html")
}
