package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// commandTimeout bounds each ${exec:...}.
	commandTimeout = 10 * time.Second
	// maxResolved bounds what a reference may resolve to.
	maxResolved = 1 << 20
)

// An environment is what references are resolved against.
type environment struct {
	environ []string
	vars    map[string]string
}

func newEnvironment(environ []string) *environment {
	vars := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			vars[name] = value
		}
	}
	return &environment{environ, vars}
}

// A failure says why a reference has no value, and what to try. It never holds a
// value.
type failure struct{ message, fix string }

func (f *failure) Error() string { return f.message }

// present reports what is wrong with a reference as far as can be told without
// running a command; nil if nothing.
func (e *environment) present(ref reference, dir string) *failure {
	switch ref.scheme {
	case "env":
		_, f := e.variable(ref.target)
		return f
	case "file":
		_, f := readFile(relativeTo(dir, ref.target))
		return f
	default:
		return nil
	}
}

// value resolves a reference. dir is what a relative path is relative to.
func (e *environment) value(ctx context.Context, ref reference, dir string) (string, *failure) {
	switch ref.scheme {
	case "env":
		return e.variable(ref.target)
	case "file":
		return readFile(relativeTo(dir, ref.target))
	default:
		return e.run(ctx, ref.argv, dir)
	}
}

func (e *environment) variable(name string) (string, *failure) {
	value, ok := e.vars[name]
	switch {
	case !ok:
		return "", &failure{"the environment variable " + name + " is not set", "set it where winch runs"}
	case value == "":
		return "", &failure{"the environment variable " + name + " is empty", "give it a value where winch runs"}
	}
	return text(value, "the environment variable "+name)
}

func readFile(name string) (string, *failure) {
	info, err := os.Stat(name)
	if err != nil {
		return "", unreadable(err)
	}
	if !info.Mode().IsRegular() {
		// Reading a pipe or a device could block for ever.
		return "", &failure{"not a regular file", "name a file"}
	}
	if info.Size() > maxResolved {
		return "", &failure{"the file is larger than 1 MiB", "name a file that holds the value alone"}
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return "", unreadable(err)
	}
	return text(withoutNewline(content), "the file")
}

func unreadable(err error) *failure {
	reason := err
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		reason = pathError.Err // the path is in the reference already
	}
	fix := "name a file that the user of winch can read"
	if errors.Is(err, os.ErrNotExist) {
		fix = "create it, or correct the path"
	}
	return &failure{"cannot read the file: " + reason.Error(), fix}
}

func text(value, what string) (string, *failure) {
	if value == "" {
		return "", &failure{what + " is empty", "a reference must have a value"}
	}
	if !utf8.ValidString(value) {
		return "", &failure{what + " does not hold UTF-8 text", "store the value as text"}
	}
	return value, nil
}

// withoutNewline cuts one newline off the end, which editors and commands add.
func withoutNewline(b []byte) string {
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
}

// run returns what a command prints. The command has the environment of winch, no
// standard input and no shell.
func (e *environment) run(ctx context.Context, argv []string, dir string) (string, *failure) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout, errSlow)
	defer cancel()
	name := argv[0]
	if strings.ContainsRune(name, filepath.Separator) {
		name = relativeTo(dir, name)
		if !filepath.IsAbs(name) {
			// exec would look for it relative to the command's directory.
			if abs, err := filepath.Abs(name); err == nil {
				name = abs
			}
		}
	}
	cmd := exec.CommandContext(ctx, name, argv[1:]...)
	cmd.Env, cmd.Dir = e.environ, dir
	cmd.WaitDelay = time.Second // for children of the command that keep its output open
	stdout, stderr := &limited{limit: maxResolved}, &limited{limit: 64 << 10, dropOld: true}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	out := withoutNewline(stdout.Bytes())
	switch {
	case ctx.Err() != nil:
		return "", &failure{"the command was stopped: " + context.Cause(ctx).Error(), "run it by hand to see what it waits for"}
	case stdout.full:
		return "", &failure{"the command printed more than 1 MiB", "print the value alone"}
	case err != nil:
		message := "the command failed: " + commandError(err)
		if last := lastLine(stderr.Bytes(), out); last != "" {
			message += ": " + last
		}
		return "", &failure{message, "run it by hand as the user of winch"}
	case out == "":
		return "", &failure{"the command printed nothing", "it must print the value on standard output"}
	}
	return text(out, "the output of the command")
}

var errSlow = fmt.Errorf("it took longer than %s", commandTimeout)

func commandError(err error) string {
	var pathError *os.PathError
	var notFound *exec.Error
	switch {
	case errors.As(err, &notFound):
		return notFound.Err.Error()
	case errors.As(err, &pathError):
		return pathError.Err.Error()
	}
	return err.Error()
}

// likeSecret matches what could be a secret in a line that a command printed:
// what follows a telling word or stands before a host, and long tokens that mix
// letters and digits.
var likeSecret = []*regexp.Regexp{
	regexp.MustCompile(`(?i)((?:pass(?:word|wd|phrase)?|pwd|secret|token|key|credentials?)["']?\s*[:=]\s*)\S+`),
	regexp.MustCompile(`(?i)((?:bearer|basic)\s+)\S+`),
	regexp.MustCompile(`(://)[^/\s]+(@)`),
	regexp.MustCompile(`()[A-Za-z0-9+/_.-]*(?:[A-Za-z][A-Za-z0-9+/_-]{6,}[0-9]|[0-9][A-Za-z0-9+/_-]{6,}[A-Za-z])[A-Za-z0-9+/_.=-]{8,}`),
}

// lastLine is the last line that a command wrote to standard error, without what
// could be a secret and without what it printed as its value.
func lastLine(stderr []byte, value string) string {
	lines := bytes.Split(bytes.TrimSpace(stderr), []byte("\n"))
	line := string(lines[len(lines)-1])
	if value != "" {
		line = strings.ReplaceAll(line, value, redacted)
	}
	for _, secret := range likeSecret {
		line = secret.ReplaceAllString(line, "${1}"+redacted+"${2}")
	}
	return oneLine(line, 200)
}

// limited keeps up to limit bytes of what is written to it: the first, or with
// dropOld the last.
type limited struct {
	bytes.Buffer
	limit   int
	dropOld bool
	full    bool
}

func (l *limited) Write(p []byte) (int, error) {
	n := len(p)
	if l.dropOld {
		l.Buffer.Write(p)
		l.Next(max(0, l.Len()-l.limit))
		return n, nil
	}
	if room := l.limit - l.Len(); n > room {
		l.full = true
		p = p[:room]
	}
	l.Buffer.Write(p)
	return n, nil
}

func relativeTo(dir, name string) string {
	if filepath.IsAbs(name) || dir == "" {
		return name
	}
	return filepath.Join(dir, name)
}
