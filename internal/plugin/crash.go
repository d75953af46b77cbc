package plugin

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

const (
	maxWordLines = 20
	maxWordBytes = 8 << 10
)

// A Crash is the end of a connector that nobody had asked for.
type Crash struct {
	Connector string
	PID       int
	// Status is how the process ended: "exit status 2", "signal: killed".
	Status string
	// LastWords are the last lines that it wrote to standard error, or, if it
	// panicked, the lines from there on: at most 20 lines and 8 KiB.
	LastWords []string
}

var _ slog.LogValuer = (*Crash)(nil)

// Error is one line, with the most telling of the last words.
func (c *Crash) Error() string {
	text := fmt.Sprintf("connector %s ended unexpectedly (%s)", c.Connector, c.Status)
	if len(c.LastWords) == 0 {
		return text
	}
	word := c.LastWords[len(c.LastWords)-1]
	if isPanic(c.LastWords[0]) {
		word = c.LastWords[0]
	}
	return text + ": " + strings.TrimSpace(word)
}

// LogValue has all that is known.
func (c *Crash) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("pid", c.PID), slog.String("status", c.Status), slog.String("last_words", strings.Join(c.LastWords, "\n")))
}

func (c *Crash) hint() string {
	switch {
	case len(c.LastWords) > 0 && isPanic(c.LastWords[0]):
		return "this is a fault of the connector; report it to its author with the lines in the log"
	case c.Status == "signal: killed":
		return "something outside killed it, most often the system for lack of memory; its log has the reason"
	default:
		return "the log has what the connector wrote last"
	}
}

func isPanic(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "SIG")
}

// lastWords keeps the last lines of text. The first line of a panic and what
// follows it stay, since the end of a stack trace tells nothing.
type lastWords struct {
	mu    sync.Mutex
	kept  []string
	bytes int
}

func (w *lastWords) add(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(line) > maxWordBytes {
		line = strings.ToValidUTF8(line[:maxWordBytes], "")
	}
	panicked := len(w.kept) > 0 && isPanic(w.kept[0])
	if !panicked && isPanic(line) {
		w.kept, w.bytes, panicked = nil, 0, true
	}
	if panicked && (len(w.kept) == maxWordLines || w.bytes+len(line) > maxWordBytes) {
		return
	}
	w.kept, w.bytes = append(w.kept, line), w.bytes+len(line)
	for len(w.kept) > maxWordLines || w.bytes > maxWordBytes {
		w.bytes -= len(w.kept[0])
		w.kept = w.kept[1:]
	}
}

func (w *lastWords) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.kept...)
}
