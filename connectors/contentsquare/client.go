package contentsquare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/rest"
)

const (
	// tokenLifetime is the documented life of a token (Authentication), for
	// answers that do not say it.
	tokenLifetime = time.Hour
	// vendorDomain is where the base URL that comes with a token must lie.
	vendorDomain = "contentsquare.com"
)

// A project is the vendor's API under the token of one project.
type project struct {
	id     int64
	tokens *auth.Cache
	rest   *rest.Client
	cfg    config

	// walk is held by the one pull that lists the project's objects for the
	// others.
	walk  chan struct{}
	known map[string]knownIDs // guarded by walk
}

// knownIDs are the ids of a kind of objects that runs planned for asOf read.
type knownIDs struct {
	asOf time.Time
	ids  []int64
}

// project returns the client of a project.
func (s *source) project(id int64) (*project, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.projects[id]; ok {
		return p, nil
	}
	p := &project{id: id, cfg: s.cfg, walk: make(chan struct{}, 1), known: map[string]knownIDs{}}
	params := map[string]any{"scope": strings.Join(s.cfg.Scopes, " ")}
	if s.cfg.Credentials == credentialsAccount {
		params["project_id"] = id
	}
	credentials := auth.ClientCredentials{
		TokenURL:        s.cfg.TokenURL,
		ClientID:        s.cfg.ClientID,
		ClientSecret:    s.cfg.ClientSecret,
		Encoding:        auth.JSON,
		Params:          params,
		DefaultLifetime: tokenLifetime,
		CheckBaseURL:    auth.HostsUnder(vendorDomain),
		Transport:       s.transport,
	}
	options := rest.Options{
		BaseURL:     s.cfg.BaseURL,
		Concurrency: s.cfg.Concurrency,
		Rate:        rate(s.cfg),
		Classify:    classify,
		// With the agent's own attempts at a slice there are more than enough, and
		// a range that is too heavy (502) is soon halved.
		MaxAttempts: 3,
		Transport:   s.transport,
	}
	if err := credentials.Validate(); err != nil {
		return nil, err
	}
	if s.cfg.BaseURL == "" {
		credentials.Answer.BaseURL = []string{"endpoint"}
	}
	p.tokens = auth.NewCache(func(ctx context.Context) (connector.Token, error) {
		token, err := credentials.Fetch(ctx)
		return token, s.refused(ctx, id, err)
	}, auth.Policy{})
	if s.cfg.BaseURL == "" {
		options.BaseURLFrom = p.tokens.BaseURL // taken anew with each token
	}
	options.Auth = p.tokens
	var err error
	if p.rest, err = rest.New(options); err != nil {
		return nil, err
	}
	s.projects[id] = p
	return p, nil
}

func rate(cfg config) []rest.Window {
	if cfg.RequestsPerSecond == 0 {
		return nil
	}
	return []rest.Window{{Requests: cfg.RequestsPerSecond, Per: time.Second}}
}

// refused tells credentials that are bad from a project that they may not read,
// which the token endpoint is not known to do: oauth/me answers to good ones. So
// one project that is refused leaves the others alone.
func (s *source) refused(ctx context.Context, id int64, err error) error {
	if connector.KindOf(err) != connector.KindAuth || !s.several() {
		return err
	}
	if _, meErr := s.account.listed(ctx); meErr != nil {
		return &badCredentials{err}
	}
	return s.forbidden(id, err)
}

// badCredentials marks the refusal of credentials that are good for no project.
type badCredentials struct{ err error }

func (e *badCredentials) Error() string { return e.err.Error() }
func (e *badCredentials) Unwrap() error { return e.err }

// several reports whether there may be other projects than one.
func (s *source) several() bool {
	return s.cfg.Credentials == credentialsAccount && s.cfg.ProjectID == 0
}

func (s *source) forbidden(id int64, err error) error {
	return &connector.Error{
		Kind: connector.KindForbidden, Err: err,
		Hint: fmt.Sprintf("the credentials are good for other projects; leave this one out with projects.exclude: [%d]", id),
	}
}

// explain adds to a failure of a project what could help.
func (s *source) explain(p *project, st stream, err error) error {
	var bad *badCredentials
	switch kind := connector.KindOf(err); {
	case err == nil:
		return nil
	case kind == connector.KindAuth && s.several() && !errors.As(err, &bad):
		// The token endpoint has just taken the credentials for good, and the
		// API refuses the token of this project.
		return s.forbidden(p.id, err)
	case kind == connector.KindForbidden && connector.HintOf(err) == forbiddenHint:
		return &connector.Error{
			Err:  err,
			Hint: "ask for the right to read it, leave the stream out under streams, or the scope out of scopes",
		}
	case errors.Is(err, errNotFound):
		return &connector.Error{Err: err, Hint: fmt.Sprintf("the path may differ from what is assumed: see the setting paths.%s", st.resource)}
	}
	return err
}

// get asks for a resource of the project.
func (p *project) get(ctx context.Context, op, path string, query url.Values) (*rest.Response, error) {
	return p.rest.Do(ctx, rest.Request{Op: op, Path: path, Query: p.params(query)})
}

// records asks for a resource of the project and returns the elements of the array
// at keys.
func (p *project) records(ctx context.Context, op, path string, query url.Values, keys ...string) ([][]byte, error) {
	_, records, err := p.rest.DoRecords(ctx, rest.Request{Op: op, Path: path, Query: p.params(query)}, recordsAt(keys...))
	return records, err
}

func recordsAt(keys ...string) func(*rest.Response) ([][]byte, error) {
	return func(r *rest.Response) ([][]byte, error) { return rest.Records(r.Body, keys...) }
}

// params adds the project. Whether a query must name the project that the token
// carries already is unknown; clients always do.
func (p *project) params(query url.Values) url.Values {
	with := url.Values{"projectId": {strconv.FormatInt(p.id, 10)}}
	for name, values := range query {
		with[name] = values
	}
	return with
}

// What the vendor's answers can mean to a pull.
var (
	errNotFound    = errors.New("404 Not Found")
	errHeavy       = errors.New("502 Bad Gateway")
	errOutOfBounds = errors.New("the range is out of bounds")
)

// forbiddenHint marks a 403 that nothing better is known about.
const forbiddenHint = "the credentials are good but may not read this"

// classify reads what the standard reading of rest does not know: an answer whose
// success is not true is a failure also with status 200, a 404 may concern one
// object alone, a 502 is a range that is too heavy, and a range beyond the
// retention is told by its message.
func classify(r *rest.Response) error {
	var envelope struct {
		Success      json.RawMessage `json:"success"`
		ErrorCode    json.RawMessage `json:"errorCode"`
		ErrorMessage json.RawMessage `json:"errorMessage"`
	}
	isEnvelope := json.Unmarshal(r.Body, &envelope) == nil
	said := strings.TrimPrefix(strings.TrimSpace(scalar(envelope.ErrorCode)+": "+scalar(envelope.ErrorMessage)), ":")
	said = strings.Trim(oneLine(said), ": ")
	failed := isEnvelope && len(envelope.Success) > 0 && string(envelope.Success) != "true"
	switch {
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusTooManyRequests:
		return nil // the standard reading renews the token, or waits
	case r.Status == http.StatusBadGateway:
		return &connector.Error{Kind: connector.KindUnavailable, Err: errHeavy, RetryAfter: retryAfter(r)}
	case r.Status/100 == 5:
		return nil
	case (failed || r.Status/100 == 4) && strings.Contains(strings.ToLower(said), "out of bounds"):
		return badResponse("%w (%d, contentsquare says %q)", errOutOfBounds, r.Status, said)
	case r.Status == http.StatusForbidden:
		return &connector.Error{Kind: connector.KindForbidden, Err: withMessage("403 Forbidden", said), Hint: forbiddenHint}
	case r.Status == http.StatusNotFound:
		return badResponse("%w%s", errNotFound, quoted(said))
	case r.Status/100 == 2 && failed:
		return badResponse("%d with success %.20s%s", r.Status, envelope.Success, quoted(said))
	}
	return nil
}

func retryAfter(r *rest.Response) time.Duration {
	wait, _ := rest.RetryAfter(r.Header)
	return wait
}

func withMessage(text, said string) error { return errors.New(text + quoted(said)) }

func quoted(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf(" (contentsquare says %q)", said)
}

// oneLine makes a vendor's text fit for an error: one line, printable, at most
// 200 characters. What is long and has no space may be a token and is left out
// (P10).
func oneLine(text string) string {
	words := strings.Fields(strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
	for i, word := range words {
		if len(word) > 32 {
			words[i] = "[...]"
		}
	}
	text = strings.Join(words, " ")
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "..."
	}
	return text
}

// scalar returns a string's text or the literal of a number or boolean, and ""
// for what is absent, null or none of these.
func scalar(raw json.RawMessage) string {
	var text string
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || raw[0] == 'n':
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return text
	default:
		return string(raw)
	}
}

func badResponse(format string, args ...any) error {
	return &connector.Error{Kind: connector.KindBadResponse, Err: fmt.Errorf(format, args...)}
}

// at says during what an answer could not be read.
func at(op string, err error) error { return &connector.Error{Op: op, Err: err} }

// An account is what oauth/me tells about the credentials.
type account struct {
	rest *rest.Client
	body []byte

	mu   sync.Mutex
	held []listedProject
	read time.Time
}

// A listedProject is a project that the credentials see.
type listedProject struct {
	id   int64
	name string
	raw  []byte
}

// listedFor is how long a list of projects is believed: a run asks for it once
// per stream.
const listedFor = time.Minute

func newAccount(cfg config, transport *http.Transport) (*account, error) {
	body, err := json.Marshal(map[string]string{"client_id": cfg.ClientID, "client_secret": cfg.ClientSecret.Reveal()})
	if err != nil {
		return nil, invalid(errors.New("client_id or client_secret cannot be written as JSON"))
	}
	client, err := rest.New(rest.Options{BaseURL: cfg.MeURL, Classify: classifyMe, MaxAttempts: 3, Transport: transport})
	return &account{rest: client, body: body}, err
}

// classifyMe reads a refusal without showing anything of it: the request carried
// the client secret.
func classifyMe(r *rest.Response) error {
	fail := func(kind connector.Kind, hint string) error {
		return &connector.Error{
			Kind: kind, Err: fmt.Errorf("%d %s", r.Status, http.StatusText(r.Status)), Hint: hint, RetryAfter: retryAfter(r),
		}
	}
	switch {
	case r.Status/100 == 2:
		return nil
	case r.Status == http.StatusTooManyRequests:
		return fail(connector.KindRateLimited, "")
	case r.Status/100 == 5:
		return fail(connector.KindUnavailable, "")
	case slices.Contains([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}, r.Status):
		return fail(connector.KindAuth, "check client_id and client_secret; a pair may end after a year")
	}
	return fail(connector.KindConfig, "is me_url right?")
}

// list asks which projects the credentials see.
func (a *account) list(ctx context.Context) ([]listedProject, error) {
	const op = "list projects"
	_, records, err := a.rest.DoRecords(ctx, rest.Request{
		Method: http.MethodPost, Body: a.body, ReadOnly: true, Op: op,
		Header: http.Header{"Content-Type": {"application/json"}},
	}, recordsAt("permissions", "projects"))
	if err != nil {
		return nil, err
	}
	var all []listedProject
	for _, raw := range records {
		var p struct {
			ID   objectID        `json:"id"`
			Name json.RawMessage `json:"name"`
		}
		if err := json.Unmarshal(raw, &p); err != nil || p.ID == 0 {
			return nil, at(op, badResponse("a project without an id"))
		}
		all = append(all, listedProject{int64(p.ID), scalar(p.Name), raw})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held, a.read = all, time.Now()
	return all, nil
}

// listed is list, or its last answer if that is fresh.
func (a *account) listed(ctx context.Context) ([]listedProject, error) {
	a.mu.Lock()
	held, fresh := a.held, !a.read.IsZero() && time.Since(a.read) < listedFor
	a.mu.Unlock()
	if fresh {
		return held, nil
	}
	return a.list(ctx)
}

// selection returns the projects to read: at least one.
func (s *source) selection(ctx context.Context) ([]int64, error) {
	if s.cfg.ProjectID != 0 {
		return []int64{int64(s.cfg.ProjectID)}, nil
	}
	var ids []int64
	if include := s.cfg.Projects.Include; len(include) > 0 {
		for _, id := range include {
			if s.cfg.Projects.has(int64(id)) && !slices.Contains(ids, int64(id)) {
				ids = append(ids, int64(id))
			}
		}
	} else {
		seen, err := s.account.listed(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range seen {
			if s.cfg.Projects.has(p.id) && !slices.Contains(ids, p.id) {
				ids = append(ids, p.id)
			}
		}
		if s.cfg.Credentials == credentialsProject && len(ids) > 1 {
			return nil, &connector.Error{
				Kind: connector.KindConfig, Op: "choose projects",
				Err:  fmt.Errorf("the credentials see %d projects", len(ids)),
				Hint: "set credentials: account if they belong to the account, else project_id",
			}
		}
	}
	if len(ids) == 0 {
		return nil, &connector.Error{
			Kind: connector.KindConfig, Op: "choose projects", Err: errors.New("there is no project to read"),
			Hint: "check projects.include and projects.exclude, and in the console which projects the credentials are for",
		}
	}
	return ids, nil
}

// partition returns the client of the project that a partition names.
func (s *source) partition(name string) (*project, error) {
	id, err := strconv.ParseInt(name, 10, 64)
	if err != nil || id <= 0 || strconv.FormatInt(id, 10) != name {
		return nil, &connector.Error{Kind: connector.KindConfig, Err: fmt.Errorf("partition %q: want the id of a project", name)}
	}
	return s.project(id)
}
