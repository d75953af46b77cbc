package cassette

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// version is the form of cassettes that is written and read.
const version = 1

// lineLimit bounds a line of a cassette in bytes.
const lineLimit = 64 << 20

// A line is one line of a cassette: exactly one of its fields is there.
type line struct {
	Cassette int       `json:"cassette,omitempty"` // the version, on the first line
	Pull     *pull     `json:"pull,omitempty"`
	Exchange *exchange `json:"exchange,omitempty"`
	Failure  *failure  `json:"failure,omitempty"`
	Full     int64     `json:"full,omitempty"` // the bound in bytes at which the recording ended
}

// A failure says that a call failed, and which pull it was, if it was one. What
// stands before it is what was said last.
type failure struct {
	pull
	Error string `json:"error"`
}

// A pull is a connector.Request.
type pull struct {
	Stream    string           `json:"stream,omitempty"`
	Partition string           `json:"partition,omitempty"`
	Window    connector.Window `json:"window,omitzero"`
	Cursor    string           `json:"cursor,omitempty"`
	Since     time.Time        `json:"since,omitzero"`
	AsOf      time.Time        `json:"as_of,omitzero"`
}

// An exchange is a request and what came back: an answer, or Failed.
type exchange struct {
	Token  bool   `json:"token,omitempty"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query,omitempty"`
	// Body is the redacted body of the request: JSON as it is, else its text.
	Body string `json:"body,omitempty"`

	Status int         `json:"status,omitempty"`
	Header http.Header `json:"header,omitempty"`
	// Answer is a body that is one JSON value, Lines one that is several, Table
	// one that is CSV. All are without the compression that they came in.
	Answer json.RawMessage   `json:"answer,omitempty"`
	Lines  []json.RawMessage `json:"lines,omitempty"`
	Table  [][]string        `json:"table,omitempty"`
	// Omitted says why there was a body and is none here.
	Omitted string `json:"omitted,omitempty"`
	// Failed says that no whole answer came.
	Failed string `json:"failed,omitempty"`
}

// where names a request in errors; its query is redacted.
func (e *exchange) where() string {
	if e.Query == "" {
		return e.Method + " " + e.Path
	}
	return e.Method + " " + e.Path + "?" + e.Query
}

// A tape is a decoded cassette.
type tape struct {
	pulls     []pull
	exchanges []*exchange
	full      int64
}

// decode reads a cassette. An error names the line.
func decode(r io.Reader) (*tape, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	t := &tape{}
	for n := 1; ; n++ {
		text, err := readLine(in)
		if errors.Is(err, io.EOF) && len(text) == 0 {
			if n == 1 {
				return nil, errors.New("the file is empty")
			}
			return t, nil
		}
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("line %d is cut off", n)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		l, err := decodeLine(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case n == 1 && l.Cassette == 0:
			return nil, errors.New("line 1 is not the heading of a cassette")
		case n == 1 && l.Cassette != version:
			return nil, fmt.Errorf("its version is %d, this program reads %d", l.Cassette, version)
		case l.Pull != nil:
			t.pulls = append(t.pulls, *l.Pull)
		case l.Exchange != nil:
			t.exchanges = append(t.exchanges, l.Exchange)
		case l.Full != 0:
			t.full = l.Full
		}
	}
}

func decodeLine(text []byte) (line, error) {
	var l line
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return l, fmt.Errorf("not a line of a cassette: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return l, errors.New("more than one value")
	}
	known := 0
	for _, there := range []bool{l.Cassette != 0, l.Pull != nil, l.Exchange != nil, l.Failure != nil, l.Full != 0} {
		if there {
			known++
		}
	}
	if known != 1 {
		return l, errors.New("want one of cassette, pull, exchange, failure and full")
	}
	if e := l.Exchange; e != nil {
		if e.Method == "" || e.Failed == "" && (e.Status < 100 || e.Status > 999) {
			return l, errors.New("an exchange without method or status")
		}
	}
	return l, nil
}

// readLine returns the next line without its end; io.EOF says that it has none.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		if len(text) > lineLimit {
			return nil, fmt.Errorf("longer than %d bytes", lineLimit)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(text, []byte("\n")), err
	}
}

// encodeLine returns l as a line with its end.
func encodeLine(l line) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
