package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Key is the path of the key: sources.kaisa_se.schedule. Empty for what
	// concerns the whole file.
	Key string `json:"key,omitempty"`
	// File and Line say where; zero if the value is not from a file.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Variable is the environment variable or the flag that the value is from.
	Variable string `json:"variable,omitempty"`
	// Value is what was found: cut to 80 characters, "[redacted]" where it could
	// be a secret, empty where there is nothing to show.
	Value string `json:"value,omitempty"`
	// Message says what is wrong or what was wanted.
	Message string `json:"message"`
	// Fix says what to try; may be empty.
	Fix string `json:"fix,omitempty"`
	// AtRunTime marks what does not make the configuration wrong but would stop a
	// run started in this environment: a reference that leads nowhere.
	AtRunTime bool `json:"at_run_time,omitempty"`
}

// String returns the problem on one line:
//
//	winch.yaml:12: sources.kaisa_se.schedule: "5 minutes": want a cron expression such as ...
func (p Problem) String() string {
	var parts []string
	switch {
	case p.Variable != "":
		parts = append(parts, p.Variable)
	case p.Line > 0:
		parts = append(parts, p.File+":"+strconv.Itoa(p.Line))
	case p.File != "":
		parts = append(parts, p.File)
	}
	if p.Key != "" {
		parts = append(parts, p.Key)
	}
	switch p.Value {
	case "":
	case redacted:
		parts = append(parts, p.Value)
	default:
		parts = append(parts, strconv.Quote(p.Value))
	}
	parts = append(parts, p.Message)
	line := strings.Join(parts, ": ")
	if p.Fix != "" {
		line += "; " + p.Fix
	}
	return line
}

// Problems is everything that is wrong with a configuration, in the order of the
// file. As an error it has one line for each.
type Problems []Problem

// Error returns the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// err is the problems in order as an error, nil if there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps.inOrder()
}

// inOrder returns the problems in the order of the file, each once.
func (ps Problems) inOrder() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Variable, b.Variable), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	return slices.Compact(ps)
}

const redacted = "[redacted]"

// shown is a value as a problem shows it.
func shown(value string) string {
	const limit = 80
	if runes := []rune(value); len(runes) > limit {
		return string(runes[:limit-3]) + "..."
	}
	return value
}

// oneLine makes text from elsewhere fit to stand in a message.
func oneLine(text string, limit int) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == ' ' }), " ")
	text = strings.ToValidUTF8(text, "?")
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-3]) + "..."
	}
	return text
}
