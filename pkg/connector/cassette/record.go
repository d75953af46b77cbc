package cassette

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/pkg/connector"
)

// Options are the settings of a Recorder.
type Options struct {
	// Secrets are values that must not appear anywhere: [Secrets] finds those of
	// a configuration.
	Secrets []string
	// Streams name the personal and secret fields.
	Streams []connector.Stream
	// MaxSize bounds the cassette in bytes: what does not fit is not recorded,
	// and the cassette says so. Zero means 256 MiB.
	MaxSize int64
	// MaxBody bounds a recorded body, before and after decompression; of a
	// longer one the cassette says only that there was one. Zero means 8 MiB, or
	// for KeepLast a quarter of Last.
	MaxBody int64
	// Last is for KeepLast how much of what was said last is held, in bytes. Zero
	// means 4 MiB.
	Last int64
}

// A Recorder writes a cassette. It is safe for concurrent use.
type Recorder struct {
	redactor *redactor
	maxBody  int64

	mu   sync.Mutex
	file *os.File // nil for KeepLast, until something is kept
	size int64
	max  int64
	full bool
	err  error // the first of writing
	last *ring // nil: all is written
}

// Record starts a cassette at path, readable by its owner alone, or goes on with
// the one that is there. An error is of KindConfig.
func Record(path string, o Options) (*Recorder, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, failed("record", "", err)
	}
	r := &Recorder{redactor: newRedactor(o.Secrets, o.Streams), file: file, max: o.MaxSize, maxBody: o.MaxBody}
	if r.max == 0 {
		r.max = 256 << 20
	}
	if r.maxBody == 0 {
		r.maxBody = 8 << 20
	}
	if err := r.begin(); err != nil {
		_ = file.Close()
		return nil, failed("record", path, err)
	}
	return r, nil
}

// begin writes the heading, or makes sure that what is there is a cassette.
func (r *Recorder) begin() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if r.size = info.Size(); r.size == 0 {
		r.write(line{Cassette: version})
		return r.err
	}
	there, err := decode(r.file)
	if err != nil {
		return fmt.Errorf("what is there cannot be gone on with: %w", err)
	}
	r.full = there.full != 0
	return nil
}

// failed is an error about a cassette.
func failed(op, path string, err error) error {
	if path != "" {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return &connector.Error{Kind: connector.KindConfig, Op: op + " cassette", Err: err}
}

// Mark makes the personal and secret fields of more streams known.
func (r *Recorder) Mark(streams []connector.Stream) { r.redactor.mark(streams) }

// Pull notes that a slice is about to be pulled, for whoever replays it.
func (r *Recorder) Pull(req connector.Request) {
	p := r.pull(req)
	r.write(line{Pull: &p})
}

func (r *Recorder) pull(req connector.Request) pull {
	p := pull{
		Stream: req.Stream, Partition: r.redactor.text(req.Partition), Window: req.Window,
		Since: req.Since, AsOf: req.AsOf,
	}
	if cursor, ok := r.redactor.json(nil, req.Cursor); ok {
		p.Cursor = string(cursor)
	}
	return p
}

// Close ends the recording. The error is the first that writing had.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	if r.file != nil {
		err = errors.Join(err, r.file.Close())
	}
	if err != nil {
		return failed("record", "", err)
	}
	return nil
}

func (r *Recorder) write(l line) {
	text, err := encodeLine(l)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && len(text) > lineLimit && l.Exchange != nil {
		l.Exchange.Answer, l.Exchange.Lines, l.Exchange.Table, l.Exchange.Body = nil, nil, nil, ""
		l.Exchange.Omitted = "too long for a line"
		text, err = encodeLine(l)
	}
	if r.full || r.err != nil {
		return
	}
	if r.last != nil && err == nil {
		r.last.add(text)
		return
	}
	r.put(text, err)
}

// put writes a line to the file; it is called under the lock.
func (r *Recorder) put(text []byte, err error) {
	if err == nil && r.size+int64(len(text)) > r.max {
		r.full = true
		text, err = encodeLine(line{Full: r.max})
	}
	if err == nil {
		var n int
		n, err = r.file.Write(text)
		r.size += int64(n)
	}
	r.err = err
}

func (r *Recorder) roundTrip(req *http.Request, base http.RoundTripper) (*http.Response, error) {
	r.mu.Lock()
	err := r.err
	r.mu.Unlock()
	if err != nil {
		return nil, failed("record", "", err)
	}
	e, err := r.request(req)
	if err != nil {
		return nil, err
	}
	resp, err := base.RoundTrip(req)
	if err != nil {
		if req.Context().Err() == nil {
			e.Failed = "no answer"
			r.write(line{Exchange: e})
		}
		return nil, err
	}
	e.Status, e.Header = resp.StatusCode, r.header(resp.Header)
	resp.Body = &recording{ReadCloser: resp.Body, left: r.maxBody, end: func(body []byte, whole, tooLong bool) {
		switch {
		case tooLong:
			e.Omitted = fmt.Sprintf("longer than %d bytes", r.maxBody)
		case whole:
			r.answer(e, resp.Header, body)
		case req.Context().Err() != nil:
			return // the connector gave up, the vendor did not fail
		default:
			e.Failed = "the answer was cut off"
		}
		r.write(line{Exchange: e})
	}}
	return resp, nil
}

// request is what is recorded of a request.
func (r *Recorder) request(req *http.Request) (*exchange, error) {
	if scheme, value, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok && !strings.EqualFold(scheme, "digest") {
		r.redactor.addSecrets(value)
	}
	return redactedRequest(r.redactor, req)
}

// redactedRequest returns the request as it stands in a cassette. The body of req
// can be read again afterwards.
func redactedRequest(redact *redactor, req *http.Request) (*exchange, error) {
	e := &exchange{Token: isToken(req), Method: req.Method, Path: redact.path(req.URL.EscapedPath()), Query: redact.query(req.URL.Query())}
	if req.Body == nil || req.Body == http.NoBody {
		return e, nil
	}
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 || e.Token {
		return e, nil
	}
	if clean, ok := redact.json(nil, body); ok {
		e.Body = string(clean)
	} else if form, err := url.ParseQuery(string(body)); err == nil && strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		e.Body = redact.query(form)
	} else {
		e.Body = "[not recorded]" // what is no JSON cannot be looked into
	}
	return e, nil
}

// recorded are the headers of answers that matter to a connector.
var recorded = []string{"Content-Type", "Date", "Link", "Location", "Retry-After", "Www-Authenticate"}

func (r *Recorder) header(h http.Header) http.Header {
	out := http.Header{}
	for name, values := range h {
		if !slices.Contains(recorded, name) && !strings.Contains(name, "Ratelimit") && !strings.Contains(name, "Rate-Limit") {
			continue
		}
		for _, value := range values {
			out.Add(name, r.redactor.text(value))
		}
	}
	return out
}

// answer puts a body into e.
func (r *Recorder) answer(e *exchange, h http.Header, body []byte) {
	// A file that is compressed by itself says so in its first bytes alone.
	if len(body) > 0 && (strings.Contains(strings.ToLower(h.Get("Content-Encoding")), "gzip") || bytes.HasPrefix(body, []byte{0x1f, 0x8b})) {
		unzipped, err := gunzip(body, r.maxBody)
		if err != nil {
			e.Omitted = err.Error()
			return
		}
		body = unzipped
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return
	}
	redact := r.redactor.json
	if e.Token {
		redact = r.redactor.tokenAnswer
	}
	if clean, ok := redact(nil, body); ok {
		e.Answer = clean
		return
	}
	for rest := body; len(bytes.TrimSpace(rest)) > 0; {
		start, end, err := jsonscan.Value(rest, 0)
		var clean []byte
		ok := err == nil
		if ok {
			clean, ok = redact(nil, rest[start:end])
		}
		if !ok {
			e.Lines = nil
			if e.Table, ok = r.redactor.table(body); !ok || e.Token {
				e.Table, e.Omitted = nil, fmt.Sprintf("%d bytes that are neither JSON nor CSV", len(body))
			}
			return
		}
		e.Lines = append(e.Lines, clean)
		rest = rest[end:]
	}
}

func gunzip(body []byte, limit int64) ([]byte, error) {
	in, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("damaged gzip")
	}
	out, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, errors.New("damaged gzip")
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("longer than %d bytes", limit)
	}
	return out, nil
}

// A recording keeps what is read of a body, and tells at its end.
type recording struct {
	io.ReadCloser
	kept []byte
	left int64
	over bool
	once sync.Once
	end  func(body []byte, whole, tooLong bool)
}

func (r *recording) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if int64(n) > r.left {
		r.over, r.kept = true, nil
	}
	if !r.over {
		r.kept = append(r.kept, p[:n]...)
		r.left -= int64(n)
	}
	if err != nil {
		r.once.Do(func() { r.end(r.kept, errors.Is(err, io.EOF), r.over) })
	}
	return n, err
}

func (r *recording) Close() error {
	r.once.Do(func() {
		// Whoever stops early, as a reader of gzip may before io.EOF, has what it
		// wanted: see whether that was all.
		rest, err := io.ReadAll(io.LimitReader(r.ReadCloser, 1))
		whole := err == nil && len(rest) == 0
		r.end(r.kept, whole, r.over || len(rest) > 0)
	})
	return r.ReadCloser.Close()
}
