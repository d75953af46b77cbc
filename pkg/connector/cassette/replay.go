package cassette

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/winchdata/winch/pkg/connector"
)

// A Player answers requests from a cassette, without a network. Requests are
// matched by method, path, query and body; equal ones get their answers in the
// order in which these were recorded. It is safe for concurrent use.
type Player struct {
	path     string
	redactor *redactor
	pulls    []connector.Request
	full     int64

	mu    sync.Mutex
	left  map[string][]*exchange // what was not replayed yet, by request
	total map[string]int
	token map[string]*exchange // the last one replayed
}

// Replay opens the cassette at path. The secrets are those of the configuration
// that it is replayed with, which need not be those of the recording. An error
// is of KindConfig.
func Replay(path string, secrets []string) (*Player, error) {
	t, err := load(path)
	if err != nil {
		return nil, err
	}
	p := &Player{
		path: path, redactor: &redactor{}, pulls: requests(t.pulls), full: t.full,
		left: map[string][]*exchange{}, total: map[string]int{}, token: map[string]*exchange{},
	}
	p.redactor.addSecrets(secrets...)
	for _, e := range t.exchanges {
		for _, key := range keysOf(e) {
			p.left[key] = append(p.left[key], e)
			p.total[key]++
		}
	}
	return p, nil
}

// Pulls returns what the cassette at path was recorded for, in order.
func Pulls(path string) ([]connector.Request, error) {
	t, err := load(path)
	if err != nil {
		return nil, err
	}
	return requests(t.pulls), nil
}

func load(path string) (*tape, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, failed("replay", "", err)
	}
	defer func() { _ = file.Close() }() // it is only read
	t, err := decode(file)
	if err != nil {
		return nil, failed("replay", path, err)
	}
	return t, nil
}

func requests(pulls []pull) []connector.Request {
	var all []connector.Request
	for _, p := range pulls {
		all = append(all, connector.Request{
			Stream: p.Stream, Partition: p.Partition, Window: p.Window, Cursor: connector.Cursor(p.Cursor), Since: p.Since, AsOf: p.AsOf,
		})
	}
	return all
}

// Pulls returns what the cassette was recorded for, in order.
func (p *Player) Pulls() []connector.Request { return p.pulls }

// Close is there for symmetry with a Recorder; it does nothing.
func (p *Player) Close() error { return nil }

// keysOf returns what a request is found by: all of it, or all but those values
// of its query that are made for one moment, such as signatures.
func keysOf(e *exchange) []string {
	if e.Token {
		return []string{"token\x00" + e.Method + "\x00" + e.Path}
	}
	exact := e.Method + "\x00" + e.Path + "\x00" + e.Query + "\x00" + e.Body
	query, err := url.ParseQuery(e.Query)
	if err != nil {
		return []string{exact}
	}
	found := false
	for name := range query {
		if looksSecret(name) {
			query.Set(name, "")
			found = true
		}
	}
	if !found {
		return []string{exact}
	}
	return []string{exact, "loose\x00" + e.Method + "\x00" + e.Path + "\x00" + query.Encode() + "\x00" + e.Body}
}

func (p *Player) roundTrip(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	asked, err := redactedRequest(p.redactor, req)
	if err != nil {
		return nil, err
	}
	e, err := p.take(asked)
	switch {
	case err != nil:
		return nil, failed("replay", p.path, err)
	case e.Failed != "":
		return nil, fmt.Errorf("%s when it was recorded: %w", e.Failed, io.ErrUnexpectedEOF)
	}
	body := []byte(e.Answer)
	if len(e.Lines) > 0 {
		var lines bytes.Buffer
		for _, l := range e.Lines {
			lines.Write(l)
			lines.WriteByte('\n')
		}
		body = lines.Bytes()
	}
	if len(e.Table) > 0 {
		body = written(e.Table)
	}
	if e.Omitted != "" {
		// Of a failure and of a page for people, status and type say enough.
		if e.Status/100 == 2 && !strings.HasPrefix(e.Header.Get("Content-Type"), "text/html") {
			return nil, failed("replay", p.path, fmt.Errorf("the answer to %s was not recorded: %s", e.where(), e.Omitted))
		}
		body = []byte("[not recorded: " + e.Omitted + "]")
	}
	header := e.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)), StatusCode: e.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(&until{req.Context(), bytes.NewReader(body)}), ContentLength: int64(len(body)), Request: req,
	}, nil
}

// take returns the next exchange for a request. A token request can be answered
// again with the last answer: how often tokens are fetched depends on the clock.
func (p *Player) take(asked *exchange) (*exchange, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := keysOf(asked)
	for _, key := range keys {
		if len(p.left[key]) == 0 {
			continue
		}
		e := p.left[key][0]
		for _, other := range keysOf(e) {
			p.left[other] = without(p.left[other], e)
		}
		if e.Token {
			p.token[key] = e
		}
		return e, nil
	}
	if e := p.token[keys[0]]; e != nil {
		return e, nil
	}
	if n := p.total[keys[0]]; n > 0 {
		return nil, fmt.Errorf("%s was recorded %d times and is asked for once more", asked.where(), n)
	}
	if p.full > 0 {
		return nil, fmt.Errorf("no answer to %s: the recording ended at its bound of %d bytes", asked.where(), p.full)
	}
	for _, left := range p.left {
		for _, e := range left {
			if e.Method == asked.Method && e.Path == asked.Path {
				return nil, fmt.Errorf("no answer to %s; the next recorded request of this path is %s", asked.where(), e.where())
			}
		}
	}
	return nil, fmt.Errorf("no answer to %s", asked.where())
}

func without(list []*exchange, e *exchange) []*exchange {
	for i := range list {
		if list[i] == e {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

// until reads as long as a context lives.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
