package kaisa

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// tokenLifetime is the documented life of a token (Using OAuth2 with Kaisa's
// API), for answers of the token endpoint that do not say it.
const tokenLifetime = 5 * time.Minute

// A client is the vendor's API under one credential.
type client struct {
	rest   *rest.Client
	tokens *auth.Cache // nil for digest accounts
	base   string      // base URL with the version
}

// newClient puts the parts of the token flow together. The client secret goes to
// the token URL's host and the token to the base URL's, and nowhere else.
func newClient(cfg config) (*client, error) {
	c := &client{base: cfg.BaseURL + "/" + cfg.Version}
	transport, err := rest.Through(cfg.ProxyURL)
	if err != nil {
		return nil, err
	}
	var signer rest.Authorizer
	switch cfg.Auth {
	case authDigest:
		signer = auth.NewDigest(cfg.Username, cfg.Password)
	default:
		credentials := auth.ClientCredentials{
			TokenURL:        cfg.TokenURL,
			ClientID:        cfg.ClientID,
			ClientSecret:    cfg.ClientSecret,
			Encoding:        auth.Encoding(cfg.TokenBody),
			DefaultLifetime: tokenLifetime,
			Transport:       transport,
		}
		if err := credentials.Validate(); err != nil {
			return nil, err
		}
		c.tokens = auth.NewCache(credentials.Fetch, auth.Policy{})
		signer = c.tokens
	}
	var rate []rest.Window
	if cfg.RequestsPerSecond > 0 {
		rate = []rest.Window{{Requests: cfg.RequestsPerSecond, Per: time.Second}}
	}
	c.rest, err = rest.New(rest.Options{
		BaseURL:     c.base,
		Auth:        signer,
		Rate:        rate,
		Concurrency: cfg.Concurrency,
		Classify:    classify,
		Transport:   transport,
	})
	return c, err
}

// token returns a token that is good now, with the base URL it is meant for.
func (c *client) token(ctx context.Context) (connector.Token, error) {
	if c.tokens == nil {
		return connector.Token{}, &connector.Error{
			Kind: connector.KindConfig,
			Err:  fmt.Errorf("auth digest signs each request and has no token: %w", errors.ErrUnsupported),
			Hint: "ask Kaisa support for OAuth2 credentials and set auth: oauth2",
		}
	}
	token, err := c.tokens.Token(ctx)
	token.BaseURL = c.base
	return token, err
}

// ping asks the resource that the vendor wants used for probes (Kaisa API -
// Getting started).
func (c *client) ping(ctx context.Context, path string) ([]connector.Finding, error) {
	var answer struct {
		Ping string `json:"ping"`
	}
	if err := c.rest.GetJSON(ctx, path, nil, &answer); err != nil {
		return nil, explain(err, "ping", "")
	}
	if answer.Ping != "ok" {
		return nil, badResponse("the answer is not the documented {\"ping\":\"ok\"}")
	}
	return []connector.Finding{{Name: "ping", Detail: "ok from " + c.base}}, nil
}

// errNotFound is what a 404 becomes. Kaisa does not document whether it answers
// 404 or an empty list for a customer that it does not know.
var errNotFound = errors.New("404 Not Found")

// classify reads what the standard reading of rest does not know: a top-level key
// errors is a failure also with status 200, and a 404 may concern one customer
// alone.
func classify(r *rest.Response) error {
	said := vendorErrors(r.Body)
	switch {
	case r.Status == http.StatusNotFound && said == "":
		return &connector.Error{Kind: connector.KindBadResponse, Err: errNotFound}
	case r.Status == http.StatusNotFound:
		return badResponse("%w: kaisa says %q", errNotFound, said)
	case r.Status/100 == 2 && said != "":
		return badResponse("%d with errors: kaisa says %q", r.Status, said)
	default:
		return nil
	}
}

// explain adds to a vendor's refusal which setting could help.
func explain(err error, stream, customer string) error {
	var hint string
	switch {
	case errors.Is(err, errNotFound):
		hint = fmt.Sprintf("the path may differ for this account: see the settings paths.%s, version and base_url", stream)
	case connector.KindOf(err) != connector.KindForbidden:
		return err
	case customer != "":
		hint = fmt.Sprintf("leave the customer out with customers.exclude: [%s], or ask Kaisa support for the right to read it", customer)
	default:
		hint = "ask Kaisa support for the right to read it, or leave the stream out under streams"
	}
	return &connector.Error{Kind: connector.KindOf(err), Err: err, Hint: hint}
}

// vendorErrors returns what the vendor says under errors, on one line and cut to
// 200 characters, or "" if there is no such key or nothing in it. The elements'
// shape is not documented: texts and objects with a text are understood, of
// others only the presence is told.
func vendorErrors(body []byte) string {
	if !bytes.Contains(body, []byte("errors")) {
		return ""
	}
	var answer struct {
		Errors json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	var list []json.RawMessage
	if json.Unmarshal(answer.Errors, &list) != nil {
		list = []json.RawMessage{answer.Errors}
	}
	var texts []string
	for _, element := range list {
		switch string(element) {
		case "", "null", "{}", "false", `""`:
		default:
			texts = append(texts, errorText(element))
		}
	}
	text := strings.Join(strings.Fields(strings.Map(printable, strings.Join(texts, "; "))), " ")
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "..."
	}
	return text
}

// wordless is told of an error in which the vendor says nothing that is
// understood.
const wordless = "an error without a message"

func errorText(element json.RawMessage) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(element, &fields) != nil {
		if text := scalarText(element); text != "" {
			return text
		}
		return wordless
	}
	var parts []string
	for _, name := range []string{"code", "error", "message", "description", "error_description"} {
		if value, ok := fields[name]; ok {
			parts = append(parts, scalarText(value))
		}
	}
	if text := strings.TrimSpace(strings.Join(parts, " ")); text != "" {
		return text
	}
	return wordless
}

// scalarText returns a string's text or the literal of a number or boolean, and
// "" for what is absent, null or none of these.
func scalarText(raw json.RawMessage) string {
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

func printable(r rune) rune {
	if !strconv.IsPrint(r) {
		return ' '
	}
	return r
}

// A listing is one list to read, page after page.
type listing struct {
	op     string
	path   string
	query  url.Values
	paging paging
	size   int // of a numbered page
	// records splits an answer.
	records func(body []byte) ([][]byte, error)
}

// paging is how a list is cut into pages. Pages count from 0.
type paging int

const (
	// numbered takes page and pagesize (the note on paging).
	numbered paging = iota
	// chunked takes page alone and gives chunks of 1000, as documented for
	// pincodes. It serves lists that are not documented to have pages too: if
	// they have none, an answer of more than 1000 records was all of it.
	chunked
	// whole is one answer.
	whole
)

// list reads a list and hands each record to each, which has it until it returns,
// and whose error ends it. It reports whether the vendor's total became smaller
// meanwhile: a record that vanished from a page already read moves the others
// forward, and the first of the next page is missed.
//
// A page is the last one if the answer says so by numpages; else if it holds
// fewer records than a full page; else if it is empty. A page that begins as an
// earlier one did is an error: the vendor ignores page, or its list has no end.
func (c *client) list(ctx context.Context, l listing, each func(raw []byte) error) (shrunk bool, err error) {
	request := rest.Request{Op: l.op, Path: l.path, Query: l.query}
	if l.paging == whole {
		_, records, err := c.rest.DoRecords(ctx, request, l.recordsOf)
		if err != nil {
			return false, err
		}
		return false, eachOf(records, each)
	}

	paged := rest.PageNumber{Param: "page", SizeParam: "pagesize", Size: l.size}
	if l.paging == chunked {
		paged.SizeParam, paged.Size = "", maxPageSize
	}
	var totals []int
	paged.Records = l.recordsOf
	paged.Last = func(r *rest.Response, page, records int) (last, known bool, err error) {
		info := readPageInfo(r.Body)
		if info.total.known {
			totals = append(totals, info.total.n)
		}
		last, err = info.last(page, records, paged.Size, l.paging)
		return last, true, err
	}
	begun := map[uint64]bool{}
	seed := maphash.MakeSeed()
	for page, err := range c.rest.Pages(ctx, request, paged) {
		if err != nil {
			return false, err
		}
		if len(page.Records) > 0 {
			first := maphash.Bytes(seed, page.Records[0])
			if begun[first] {
				return false, at(l.op, badResponse("page %d begins as an earlier page did: the vendor ignores page, or its list has no end", page.Number))
			}
			begun[first] = true
		}
		if err := eachOf(page.Records, each); err != nil {
			return false, err
		}
		page.Response.Release()
	}
	return len(totals) > 1 && totals[len(totals)-1] < totals[0], nil
}

func (l listing) recordsOf(r *rest.Response) ([][]byte, error) { return l.records(r.Body) }

func eachOf(records [][]byte, each func(raw []byte) error) error {
	for _, raw := range records {
		if err := each(raw); err != nil {
			return err
		}
	}
	return nil
}

// pageInfo is what stands beside the records of a page. Whether as numbers or as
// text is not documented.
type pageInfo struct {
	total, size, pages count
}

type count struct {
	n     int
	known bool
}

func readPageInfo(body []byte) pageInfo {
	values := rest.Fields(body, "total", "pagesize", "numpages")
	return pageInfo{readCount(values[0]), readCount(values[1]), readCount(values[2])}
}

func readCount(raw json.RawMessage) count {
	n, err := strconv.Atoi(strings.Trim(string(raw), `"`))
	return count{n, err == nil && n >= 0}
}

// last says whether a page is the last one, given the size of a full page where
// the answer does not tell another.
func (i pageInfo) last(page, records, size int, p paging) (bool, error) {
	if i.pages.known && (i.pages.n > 0 || records == 0) {
		if records == 0 && page+1 < i.pages.n {
			return false, badResponse("page %d is empty although the answer counts %d pages", page, i.pages.n)
		}
		return page+1 >= i.pages.n, nil
	}
	if i.size.known && i.size.n > 0 {
		size = i.size.n
	}
	return records < size || p == chunked && records > size, nil
}

// envelope returns the records of an answer: the array under key; else, unless
// the key comes from the settings, the only array beside errors.
func envelope(body []byte, key string, fixed bool) ([][]byte, error) {
	records, err := rest.Records(body, key)
	if err == nil {
		return records, nil
	}
	var answer map[string]json.RawMessage
	if json.Unmarshal(body, &answer) != nil {
		return nil, err
	}
	hint := "if the records stand under another key, name it under envelopes"
	if _, ok := answer[key]; ok || fixed {
		return nil, &connector.Error{Err: err, Hint: hint}
	}
	delete(answer, "errors")
	var arrays []string
	for _, name := range slices.Sorted(maps.Keys(answer)) {
		if value := answer[name]; value[0] == '[' {
			arrays = append(arrays, name)
		}
	}
	if len(arrays) != 1 {
		return nil, &connector.Error{
			Kind: connector.KindBadResponse, Hint: hint,
			Err: fmt.Errorf("the answer has no array %q, and %d others: %.100q", key, len(arrays), arrays),
		}
	}
	return rest.Records(body, arrays[0])
}

func badResponse(format string, args ...any) error {
	return &connector.Error{Kind: connector.KindBadResponse, Err: fmt.Errorf(format, args...)}
}

// at says during what an answer could not be read.
func at(op string, err error) error { return &connector.Error{Op: op, Err: err} }
