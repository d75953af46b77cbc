package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// eachLine calls f with each line, without its end, until reading fails. A line
// is valid only during the call.
func eachLine(r io.Reader, f func(line []byte)) {
	reader := bufio.NewReaderSize(r, maxLine)
	for {
		line, more, err := reader.ReadLine()
		if err != nil {
			return
		}
		f(line)
		for more && err == nil {
			_, more, err = reader.ReadLine()
		}
	}
}

// A lineWriter calls line with each line that is written to it.
type lineWriter struct {
	mu   sync.Mutex
	rest []byte
	line func(line []byte)
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, b...)
	for {
		end := bytes.IndexByte(w.rest, '\n')
		if end < 0 {
			break
		}
		w.line(bytes.TrimSuffix(w.rest[:end], []byte{'\r'}))
		w.rest = w.rest[end+1:]
	}
	if len(w.rest) > maxLine {
		w.flush()
	}
	return len(b), nil
}

// Close gives out what came without the end of a line.
func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return nil
}

func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.line(w.rest)
		w.rest = nil
	}
}

// logText logs a line that was not meant for a log.
func logText(logger *slog.Logger, file string, line []byte) {
	if len(bytes.TrimSpace(line)) > 0 {
		logger.Warn("connector wrote to "+file, "text", string(line))
	}
}

// parseLogLine reads a line in the shape that connector.proto asks for; ok is
// false for any other.
func parseLogLine(line []byte) (entry slog.Record, ok bool) {
	if !bytes.HasPrefix(line, []byte("{")) {
		return slog.Record{}, false
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var fields map[string]any
	if decoder.Decode(&fields) != nil || decoder.More() {
		return slog.Record{}, false
	}
	message, ok := fields["@message"].(string)
	if !ok {
		return slog.Record{}, false
	}
	stamp, _ := fields["@timestamp"].(string)
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		at = time.Now()
	}
	name, _ := fields["@level"].(string)
	for _, key := range []string{"@message", "@timestamp", "@level"} {
		delete(fields, key)
	}
	entry = slog.NewRecord(at, levelOf(name), message, 0)
	entry.AddAttrs(attrs(fields)...)
	return entry, true
}

func levelOf(name string) slog.Level {
	switch name {
	case "trace":
		return slog.LevelDebug - 4
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

func attrs(fields map[string]any) []slog.Attr {
	list := make([]slog.Attr, 0, len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		list = append(list, slog.Attr{Key: key, Value: attrValue(fields[key])})
	}
	return list
}

func attrValue(value any) slog.Value {
	switch v := value.(type) {
	case map[string]any:
		return slog.GroupValue(attrs(v)...)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return slog.Int64Value(n)
		}
		if f, err := v.Float64(); err == nil {
			return slog.Float64Value(f)
		}
		return slog.StringValue(v.String())
	default:
		return slog.AnyValue(v)
	}
}

func logEntry(logger *slog.Logger, entry slog.Record) {
	ctx := context.Background()
	if logger.Enabled(ctx, entry.Level) {
		_ = logger.Handler().Handle(ctx, entry) // what a log cannot take has nowhere to go
	}
}

// entryText is an entry as one line of text.
func entryText(entry slog.Record) string {
	var b strings.Builder
	b.WriteString(entry.Message)
	entry.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	return b.String()
}

func lowestLevel(ctx context.Context, logger *slog.Logger) slog.Level {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if logger.Enabled(ctx, level) {
			return level
		}
	}
	return slog.LevelError
}

// newMechanismLogger takes what go-plugin itself has to say. Whatever matters of
// it is also in an error or seen by the child, so all of it is for debugging.
func newMechanismLogger(logger *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(mechanismLog{logger})
	return l
}

type mechanismLog struct{ logger *slog.Logger }

func (m mechanismLog) Accept(_ string, level hclog.Level, message string, args ...any) {
	if level > hclog.Trace {
		m.logger.Debug("go-plugin: "+message, args...)
	}
}
