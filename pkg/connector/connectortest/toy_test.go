package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// The toy is a good connector, unless its setting defect names what is to be
// wrong with it.

type toyConfig struct {
	TokenURL string           `json:"token_url"`
	BaseURL  string           `json:"base_url"`
	ProxyURL connector.Secret `json:"proxy_url"`
	ID       string           `json:"client_id"`
	Secret   connector.Secret `json:"client_secret"`
	Defect   string           `json:"defect"`
}

const toySchema = `{"type":"object","properties":{
	"token_url":{"type":"string"},"base_url":{"type":"string"},"proxy_url":{"type":"string","writeOnly":true},"client_id":{"type":"string"},
	"client_secret":{"type":"string","writeOnly":true},"defect":{"type":"string"}}}`

var toyStreams = []connector.Stream{
	{
		Name: "things", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
		Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "name", Type: connector.TypeText}},
	},
	{
		Name: "events", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "at", Slice: connector.Days(1),
		Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "at", Type: connector.TypeTimestamp}},
	},
	{
		Name: "changes", Mode: connector.ModeCursor, PrimaryKey: []string{"seq"},
		Columns: []connector.Column{{Name: "seq", Type: connector.TypeBigint}, {Name: "what", Type: connector.TypeText}},
	},
}

func toyDefinition() connector.Definition {
	return connector.Definition{
		Name: "toy", Title: "Toy", DocsURL: "https://toy.example/docs", ConfigSchema: json.RawMessage(toySchema), Streams: toyStreams, Open: openToy,
	}
}

type toy struct {
	cfg     toyConfig
	rest    *rest.Client
	tokens  *auth.Cache
	calls   atomic.Int64
	flights sync.Map // what a toy that remembers too much has emitted
}

func openToy(_ context.Context, settings connector.Config) (connector.Source, error) {
	t := &toy{}
	if err := settings.Decode(&t.cfg); err != nil {
		if !strings.Contains(string(settings.Reveal()), `"defect":"lenient"`) || json.Unmarshal(settings.Reveal(), &t.cfg) != nil {
			return nil, &connector.Error{Kind: connector.KindConfig, Op: "toy settings", Err: err}
		}
	}
	var transport http.RoundTripper
	var err error
	if transport, err = rest.Through(t.cfg.ProxyURL); err != nil {
		return nil, err
	}
	switch t.cfg.Defect {
	case "ignores_proxy":
		transport = nil
	case "follows_redirects", "ignores_retry_after":
		transport = crudeTransport{t.cfg.Defect}
	}
	credentials := auth.ClientCredentials{TokenURL: t.cfg.TokenURL, ClientID: t.cfg.ID, ClientSecret: t.cfg.Secret, Transport: transport}
	fetch := func(ctx context.Context) (connector.Token, error) {
		token, err := credentials.Fetch(ctx)
		switch {
		case t.cfg.Defect == "tries_refused_credentials" && connector.KindOf(err) == connector.KindAuth:
			return credentials.Fetch(ctx)
		case t.cfg.Defect == "outage_is_refusal" && connector.KindOf(err) == connector.KindUnavailable:
			return token, &connector.Error{Kind: connector.KindAuth, Err: errors.New("no token")}
		}
		return token, err
	}
	t.tokens = auth.NewCache(fetch, auth.Policy{})
	var signer rest.Authorizer = t.tokens
	switch t.cfg.Defect {
	case "renews_late", "renews_at_the_end", "fetches_for_each_request", "fetches_for_each_pull", "gives_up_on_401", "renews_for_each_pull":
		signer = &crudeAuth{defect: t.cfg.Defect, fetch: fetch}
	case "stale_header":
		signer = nil
	}
	t.rest, err = rest.New(rest.Options{
		BaseURL: t.cfg.BaseURL, Auth: signer, Concurrency: 8, Transport: transport, Classify: t.classify,
	})
	if err != nil {
		return nil, err
	}
	if t.cfg.Defect == "logs_secret" {
		slog.Debug("opened", "secret", t.cfg.Secret.Reveal())
	}
	return t, nil
}

func (t *toy) classify(r *rest.Response) error {
	kinds := map[string]map[int]connector.Kind{
		"rate_limit_is_bad_response": {429: connector.KindBadResponse},
		"outage_is_bad_response":     {503: connector.KindBadResponse},
		"forbidden_is_auth":          {403: connector.KindAuth},
		"large_is_unknown":           {},
	}
	if kind, ok := kinds[t.cfg.Defect][r.Status]; ok {
		return &connector.Error{Kind: kind, Err: fmt.Errorf("status %d", r.Status)}
	}
	return nil
}

func (t *toy) Streams(context.Context) ([]connector.Stream, error) {
	if t.cfg.Defect == "streams_change" && t.calls.Add(1)%2 == 0 {
		return toyStreams[:2], nil
	}
	return toyStreams, nil
}

func (t *toy) Token(ctx context.Context, _ string) (connector.Token, error) {
	return t.tokens.Token(ctx)
}

func (t *toy) Close() error { return nil }

func (t *toy) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	switch t.cfg.Defect {
	case "ignores_cancellation", "ignores_all":
		ctx = context.WithoutCancel(ctx)
	case "own_words_for_cancellation":
		if err := t.pull(ctx, req, out); err != nil && ctx.Err() != nil {
			return errors.New("stopped")
		} else {
			return err
		}
	case "leaves_goroutine":
		go func() { select {} }()
	case "leaves_process":
		if err := exec.Command("/bin/sleep", "60").Start(); err != nil {
			return err
		}
	case "cannot_read_things":
		if req.Stream == "things" {
			return &connector.Error{Kind: connector.KindBadResponse, Op: "things", Err: errors.New("out of order")}
		}
	}
	err := t.pull(ctx, req, out)
	if err != nil && t.cfg.Defect == "secret_in_error" {
		return fmt.Errorf("with %s: %w", t.cfg.Secret.Reveal(), err)
	}
	return err
}

func (t *toy) pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	switch t.cfg.Defect {
	case "ignores_emitter", "ignores_all":
		out = deafEmitter{out}
	case "emits_after_error":
		out = stubbornEmitter{out}
	case "null_key":
		out = rewriting{out, `{"id":null,"seq":null}`}
	case "no_object":
		out = rewriting{out, `[1]`}
	}
	switch req.Stream {
	case "things":
		return t.list(ctx, "things", url.Values{}, out)
	case "events":
		since, until := req.Window.Since, req.Window.Until
		q := url.Values{"from": {since.Format(time.RFC3339)}, "to": {until.Format(time.RFC3339)}}
		switch t.cfg.Defect {
		case "window_without_its_first_moment":
			q.Set("from", since.Add(time.Second).Format(time.RFC3339))
		case "window_with_its_end":
			q.Set("to", until.Add(time.Second).Format(time.RFC3339))
		case "clock":
			q.Set("asked", time.Now().Format(time.DateOnly))
		case "random":
			q.Set("nonce", strconv.Itoa(rand.Int()))
		}
		return t.list(ctx, "events", q, out)
	default:
		return t.changes(ctx, req.Cursor, out)
	}
}

// list reads pages until one is not full.
func (t *toy) list(ctx context.Context, key string, q url.Values, out connector.Emitter) error {
	if t.cfg.Defect == "endless_paging" {
		for page := 0; ; page++ {
			q.Set("page", strconv.Itoa(page))
			records, err := t.page(ctx, key, q)
			if err != nil || len(records) == 0 {
				return err
			}
			if err := emit(out, records); err != nil {
				return err
			}
		}
	}
	if crude := map[string]bool{
		"stale_header": true, "storms": true, "html_is_empty": true, "other_shape_is_empty": true, "cut_off_is_the_end": true,
	}; crude[t.cfg.Defect] {
		for page := 0; ; page++ {
			q.Set("page", strconv.Itoa(page))
			records, err := t.page(ctx, key, q)
			if err != nil {
				return err
			}
			if err := emit(out, records); err != nil || len(records) < toyPageSize {
				return err
			}
		}
	}
	pages := rest.PageNumber{Param: "page", Size: toyPageSize, Records: func(r *rest.Response) ([][]byte, error) {
		return rest.Records(r.Body, key)
	}}
	for page, err := range t.rest.Pages(ctx, rest.Request{Path: key, Query: q, Op: key}, pages) {
		if err != nil {
			if t.cfg.Defect == "large_is_unknown" && strings.Contains(err.Error(), "larger than") {
				return errors.New("something is odd")
			}
			return err
		}
		if t.cfg.Defect == "remembers_what_it_emitted" {
			for _, record := range page.Records {
				if _, known := t.flights.LoadOrStore(q.Encode()+string(record), true); !known {
					if err := out.Record(record); err != nil {
						return err
					}
				}
			}
			continue
		}
		if err := emit(out, page.Records); err != nil {
			return err
		}
	}
	return nil
}

// page asks for one page, with what the defects want to do by themselves.
func (t *toy) page(ctx context.Context, key string, q url.Values) ([][]byte, error) {
	request := rest.Request{Path: key, Query: q, Op: key}
	if t.cfg.Defect == "stale_header" {
		token, err := t.tokens.Token(ctx)
		if err != nil {
			return nil, err
		}
		request.Header = http.Header{"Authorization": {"Bearer " + token.Value.Reveal()}}
	}
	resp, err := t.rest.Do(ctx, request)
	for range 4 {
		if t.cfg.Defect != "storms" || connector.KindOf(err) != connector.KindAuth {
			break
		}
		resp, err = t.rest.Do(ctx, request)
	}
	if err != nil {
		if t.cfg.Defect == "html_is_empty" && strings.Contains(err.Error(), "text/html") {
			return nil, nil
		}
		return nil, err
	}
	records, err := rest.Records(resp.Body, key)
	switch {
	case err == nil:
	case t.cfg.Defect == "cut_off_is_the_end" && !json.Valid(resp.Body), t.cfg.Defect == "other_shape_is_empty" && json.Valid(resp.Body):
		return nil, nil
	}
	return records, err
}

func emit(out connector.Emitter, records [][]byte) error {
	for _, record := range records {
		if err := out.Record(record); err != nil {
			return err
		}
	}
	return nil
}

type toyPosition struct {
	Version int `json:"version"`
	After   int `json:"after"`
}

// changes reads from a position, with a checkpoint after each page.
func (t *toy) changes(ctx context.Context, cursor connector.Cursor, out connector.Emitter) error {
	at := toyPosition{Version: 1}
	if len(cursor) > 0 {
		if err := cursor.Decode(&at); err != nil {
			if t.cfg.Defect != "fresh_start" {
				return err
			}
			at = toyPosition{Version: 1}
		}
	}
	for {
		resp, err := t.rest.Do(ctx, rest.Request{Path: "changes", Query: url.Values{"after": {strconv.Itoa(at.After)}}, Op: "changes"})
		if err != nil {
			return err
		}
		records, err := rest.Records(resp.Body, "changes")
		if err != nil {
			return err
		}
		at.After += len(records)
		last := len(records) < toyPageSize
		position, err := connector.NewCursor(at)
		if err != nil {
			return err
		}
		if t.cfg.Defect == "checkpoint_before_records" {
			if err := out.Checkpoint(position); err != nil {
				return err
			}
		}
		if t.cfg.Defect == "token_in_record" {
			token, _ := t.tokens.Token(ctx)
			records = append(records, fmt.Appendf(nil, `{"seq":99,"what":%q}`, token.Value.Reveal()))
		}
		if err := emit(out, records); err != nil {
			return err
		}
		if t.cfg.Defect != "no_final_checkpoint" || !last {
			if err := out.Checkpoint(position); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// A deafEmitter does not hear errors.
type deafEmitter struct{ connector.Emitter }

func (d deafEmitter) Record(raw []byte) error {
	_ = d.Emitter.Record(raw)
	return nil
}

func (d deafEmitter) Checkpoint(c connector.Cursor) error {
	_ = d.Emitter.Checkpoint(c)
	return nil
}

// A stubbornEmitter tries again.
type stubbornEmitter struct{ connector.Emitter }

func (s stubbornEmitter) Record(raw []byte) error {
	if s.Emitter.Record(raw) == nil {
		return nil
	}
	return s.Emitter.Record(raw)
}

// A rewriting emitter emits something else.
type rewriting struct {
	connector.Emitter
	record string
}

func (r rewriting) Record([]byte) error { return r.Emitter.Record([]byte(r.record)) }

// crudeAuth holds a token without rules.
type crudeAuth struct {
	defect string
	fetch  auth.Fetch

	mu    sync.Mutex
	token connector.Token
}

func (c *crudeAuth) Authorize(req *http.Request) error {
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	atEnd := c.defect == "renews_at_the_end" && !time.Now().Before(token.ExpiresAt)
	if token.Value.IsZero() || c.defect == "fetches_for_each_request" || atEnd {
		var err error
		if token, err = c.fetch(req.Context()); err != nil {
			return err
		}
		c.mu.Lock()
		c.token = token
		c.mu.Unlock()
	}
	req.Header.Set("Authorization", "Bearer "+token.Value.Reveal())
	return nil
}

func (c *crudeAuth) Rejected(ctx context.Context, _ *http.Response) (bool, error) {
	if c.defect == "gives_up_on_401" {
		return false, nil
	}
	token, err := c.fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
	return err == nil, err
}

// crudeTransport follows redirects with all headers, or asks again at once.
type crudeTransport struct{ defect string }

func (c crudeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch {
	case c.defect == "ignores_retry_after" && resp.StatusCode == http.StatusTooManyRequests:
	case c.defect == "follows_redirects" && resp.StatusCode/100 == 3:
	default:
		return resp, nil
	}
	again := req.Clone(req.Context())
	if location, err := resp.Location(); err == nil {
		again.URL, again.Host = location, location.Host
	}
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return http.DefaultTransport.RoundTrip(again)
}
