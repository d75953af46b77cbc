package contentsquare

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// maxRow bounds a row of a file, and with it the memory that a download takes.
const maxRow = 16 << 20

var errRowTooLong = errors.New("a row is longer than 16 MiB")

// rows reads a file of an export, gzip or not, and hands over each row as a JSON
// object with its number, from 1. The object is valid until the next row. It is
// JSONL if it begins with a brace, else CSV with a header.
func rows(body io.Reader, each func(n int, raw []byte) error) error {
	in := bufio.NewReaderSize(body, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return damaged(err)
		}
		in = bufio.NewReaderSize(unzipped, 64<<10)
	}
	if mark, _ := in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3) // peeked at
	}
	for {
		first, err := in.Peek(1)
		switch {
		case errors.Is(err, io.EOF):
			return nil // a run without rows
		case err != nil:
			return damaged(err)
		case first[0] == ' ' || first[0] == '\n' || first[0] == '\r' || first[0] == '\t':
			_, _ = in.Discard(1) // peeked at
		case first[0] == '<':
			return badResponse("a page instead of a file") // of a proxy; as CSV it would pass for rows
		case first[0] == '{':
			return jsonRows(in, each)
		default:
			return csvRows(in, each)
		}
	}
}

func jsonRows(in *bufio.Reader, each func(n int, raw []byte) error) error {
	var long []byte // a line that is longer than the buffer
	for n := 1; ; {
		part, err := in.ReadSlice('\n')
		if len(long)+len(part) > maxRow {
			return rowError(n, errRowTooLong)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		atEnd := errors.Is(err, io.EOF)
		if err != nil && !atEnd {
			return damaged(err)
		}
		line := part
		if len(long) > 0 {
			long = append(long, part...)
			line = long
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if !isObject(line) || !json.Valid(line) {
				return rowError(n, errors.New("not a JSON object"))
			}
			if n == 1 && isFailure(line) {
				return badResponse("a failure instead of a file")
			}
			if err := each(n, line); err != nil {
				return err
			}
			n++
		}
		long = long[:0]
		if atEnd {
			return nil
		}
	}
}

// isFailure reports whether a row is the API's own envelope of a failure, which
// comes with status 200 too.
func isFailure(row []byte) bool {
	return string(rest.Field(row, "success")) == "false" && (rest.Field(row, "errorCode") != nil || rest.Field(row, "errorMessage") != nil)
}

// csvRows makes an object of each row, with the names of the header.
func csvRows(in *bufio.Reader, each func(n int, raw []byte) error) error {
	limited := &rowLimit{r: in}
	reader := csv.NewReader(limited)
	reader.ReuseRecord = true
	limited.left = maxRow
	header, err := reader.Read()
	if err != nil {
		return csvError(0, err)
	}
	keys := make([][]byte, len(header))
	seen := map[string]bool{}
	for i, name := range header {
		if name == "" || seen[name] {
			return rowError(0, errors.New("the header has an empty name or one that comes twice"))
		}
		seen[name] = true
		keys[i] = append(quote(nil, name), ':')
	}
	var raw []byte
	for n := 1; ; n++ {
		limited.left = maxRow
		values, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return csvError(n, err)
		}
		raw = append(raw[:0], '{')
		for i, value := range values {
			if i > 0 {
				raw = append(raw, ',')
			}
			raw = quote(append(raw, keys[i]...), value)
		}
		if err := each(n, append(raw, '}')); err != nil {
			return err
		}
	}
}

func quote(dst []byte, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("contentsquare: a text that JSON does not have") // every text is one
	}
	return append(dst, quoted...)
}

// rowLimit ends a reader when one row takes too much of it, since csv.Reader has
// no limit: an unclosed quote would hold the file whole.
type rowLimit struct {
	r    io.Reader
	left int
}

func (l *rowLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errRowTooLong
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

func csvError(n int, err error) error {
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse):
		return rowError(n, parse.Err)
	case errors.Is(err, errRowTooLong):
		return rowError(n, err)
	}
	return damaged(err)
}

func rowError(n int, err error) error { return badResponse("row %d: %w", n, err) }

// damaged tells a file that did not arrive as it was sent, which another attempt
// may mend.
func damaged(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		if connector.KindOf(err) == connector.KindUnknown {
			return &connector.Error{Kind: connector.KindUnavailable, Err: fmt.Errorf("the file is cut off or damaged: %w", err)}
		}
	}
	return err
}

// flatten puts the members of an object under their dotted names, for those that
// are wanted and not there: {"errors":{"message":[]}} also has "errors.message".
// Which of the two forms files have is not published.
func flatten(raw []byte, wanted []string) ([]byte, error) {
	var fields map[string]json.RawMessage
	for _, name := range wanted {
		prefix, member, dotted := strings.Cut(name, ".")
		if !dotted || !bytes.Contains(raw, []byte(prefix)) {
			continue
		}
		if fields == nil {
			if err := json.Unmarshal(raw, &fields); err != nil {
				return nil, badResponse("a row is not a JSON object")
			}
		}
		var members map[string]json.RawMessage
		if _, flat := fields[name]; flat || json.Unmarshal(fields[prefix], &members) != nil {
			continue
		}
		if value, ok := members[member]; ok {
			raw = append(append(quote(append(raw[:len(raw)-1:len(raw)-1], ','), name), ':'), value...)
			raw = append(raw, '}')
		}
	}
	return raw, nil
}
