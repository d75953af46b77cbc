package generic

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/winchdata/winch/pkg/connector"
)

// An api is a manifest whose paths, texts and conditions have been read.
type api struct {
	manifest
	jsonInString          []route
	code, reason, message []route
	rules                 []rule
	checkParams           map[string]template
	streams               []*stream
}

type rule struct {
	when *vm.Program
	then string
}

// compile reads what stands in the texts of a manifest and reports what is wrong
// with it. What it returns is good if nothing is.
func (r *reading) compile(m manifest) *api {
	a := &api{manifest: m}
	a.Concurrency = cmp.Or(m.Concurrency, 1)
	if m.Name != "" && !connector.ValidName(m.Name) {
		r.bad("name", "%.60q: want lower case letters, digits and underscores", m.Name)
	}
	if m.BaseURL != "" {
		r.address("base_url", m.BaseURL)
	}
	if m.PathPrefix != "" {
		r.plainPath("path_prefix", m.PathPrefix)
	}
	r.headers("headers", m.Headers)
	r.parameters(m.Parameters)
	r.auth(m.Auth)
	a.jsonInString = r.paths("json_in_string", m.JSONInString)
	a.code = r.paths("errors.code", m.Errors.Code)
	a.reason = r.paths("errors.reason", m.Errors.Reason)
	a.message = r.paths("errors.message", m.Errors.Message)
	for i, spec := range m.Errors.Rules {
		if program, err := parseErrorCondition(spec.When); spec.When != "" && err != nil {
			r.bad(fmt.Sprintf("errors.rules[%d].when", i), "%v", err)
		} else {
			a.rules = append(a.rules, rule{program, spec.Then})
		}
	}
	r.rate(m.Rate)
	if m.Concurrency < 0 || m.Concurrency > maxConcurrency {
		r.bad("concurrency", "%d: want 1 to %d", m.Concurrency, maxConcurrency)
	}
	for i, path := range m.ReadOnlyPost {
		r.plainPath(fmt.Sprintf("read_only_post[%d]", i), path)
	}
	if m.Check.Path != "" {
		r.plainPath("check.path", m.Check.Path)
	}
	a.checkParams = r.templates("check.params", m.Check.Params, func(place string) error {
		return a.parameterPlace(place)
	})
	names := map[string]bool{}
	for i, spec := range m.Streams {
		at := fmt.Sprintf("streams[%d]", i)
		if names[spec.Name] {
			r.bad(at+".name", "%q comes twice", spec.Name)
		}
		names[spec.Name] = true
		a.streams = append(a.streams, r.stream(a, at, spec))
	}
	if len(m.Streams) == 0 {
		r.bad("streams", "there are none")
	}
	return a
}

const (
	maxConcurrency = 64
	// maxRate bounds what a limiter remembers.
	maxRate = 100_000
)

func (r *reading) address(path, text string) {
	if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		r.bad(path, "want an address such as https://host/path, without user, query or fragment")
	}
}

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

func (r *reading) plainPath(path, text string) {
	if !plainPath.MatchString(text) {
		r.bad(path, "%.60q: want a path such as /orders/list", text)
	}
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (r *reading) headers(path string, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := join(path, name)
		switch lower := strings.ToLower(name); {
		case !headerName.MatchString(name) || strings.ContainsAny(headers[name], "\n\t"):
			r.bad(at, "no header")
		case slices.Contains([]string{"authorization", "cookie", "host", "content-length", "transfer-encoding", "connection"}, lower):
			r.bad(at, "this header is not the manifest's to set")
		}
	}
}

func (r *reading) parameters(all []parameterSpec) {
	seen := map[string]bool{}
	for i, p := range all {
		at := fmt.Sprintf("parameters[%d]", i)
		if p.Name != "" && !connector.ValidName(p.Name) {
			r.bad(at+".name", "%.60q: want lower case letters, digits and underscores", p.Name)
		}
		if seen[p.Name] {
			r.bad(at+".name", "%q comes twice", p.Name)
		}
		seen[p.Name] = true
		if p.Type == parameterText && len(p.Default) > 1 {
			r.bad(at+".default", "a parameter of type text has one")
		}
	}
}

const (
	parameterText = "text"
	parameterList = "list"
)

func (r *reading) auth(a authSpec) {
	switch {
	case a.TokenPath != "" && a.TokenURL != "":
		r.bad("auth.token_url", "beside token_path: want one of them")
	case a.TokenURL != "":
		r.address("auth.token_url", a.TokenURL)
	case a.TokenPath != "":
		r.plainPath("auth.token_path", a.TokenPath)
	case a.Type != "":
		r.bad("auth", "want token_path or token_url")
	}
	for name, path := range map[string]string{
		"token": a.Answer.Token, "type": a.Answer.Type, "expires_in": a.Answer.ExpiresIn, "scope": a.Answer.Scope,
	} {
		if path != "" {
			r.keys("auth.answer."+name, path)
		}
	}
	r.clock("auth.default_lifetime", a.DefaultLifetime)
}

// clock wants a span that is a plain duration, not a negative one.
func (r *reading) clock(path string, s connector.Span) time.Duration {
	if s.Months != 0 || s.Clock < 0 || s.Days < 0 {
		r.bad(path, "%s: want a time such as 90s, 5m or 1h", s)
	}
	return time.Duration(s.Days)*24*time.Hour + s.Clock
}

func (r *reading) rate(rate rateSpec) {
	for i, w := range rate.Windows {
		at := fmt.Sprintf("rate.windows[%d]", i)
		if w.Requests < 1 || w.Requests > maxRate {
			r.bad(at+".requests", "%d: want 1 to %d", w.Requests, maxRate)
		}
		if r.clock(at+".per", w.Per) <= 0 {
			r.bad(at+".per", "%s: want a time above zero", w.Per)
		}
	}
	for key, name := range map[string]string{"rate.remaining": rate.Remaining, "rate.reset": rate.Reset} {
		if name != "" && !headerName.MatchString(name) {
			r.bad(key, "%.60q is no header", name)
		}
	}
	if (rate.Remaining == "") != (rate.Reset == "") {
		r.bad("rate", "remaining and reset belong together")
	}
}

func (r *reading) path(at, text string) route {
	parsed, err := parsePath(text)
	if err != nil {
		r.bad(at, "%v", err)
	}
	return parsed
}

func (r *reading) paths(at string, texts []string) []route {
	all := make([]route, len(texts))
	for i, text := range texts {
		all[i] = r.path(fmt.Sprintf("%s[%d]", at, i), text)
		if len(all[i]) > 1 {
			r.bad(fmt.Sprintf("%s[%d]", at, i), "[*] has no place here")
		}
	}
	return all
}

func (r *reading) keys(at, text string) []string {
	keys, err := parseKeys(text)
	if err != nil {
		r.bad(at, "%v", err)
	}
	return keys
}

func (r *reading) template(at, text string, allowed func(place string) error) template {
	t, err := parseTemplate(text, allowed)
	if err != nil {
		r.bad(at, "%v", err)
	}
	return t
}

func (r *reading) templates(at string, texts map[string]string, allowed func(place string) error) map[string]template {
	all := map[string]template{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		all[name] = r.template(join(at, name), texts[name], allowed)
	}
	return all
}

// parameterPlace allows {parameter.name} for a declared parameter of type text.
func (a *api) parameterPlace(place string) error {
	name, ok := strings.CutPrefix(place, "parameter.")
	if !ok {
		return fmt.Errorf("{%.60s}: unknown here", place)
	}
	if p := a.parameter(name); p == nil || p.Type != parameterText {
		return fmt.Errorf("{%.60s}: no parameter of type text has that name", place)
	}
	return nil
}

func (a *api) parameter(name string) *parameterSpec {
	i := slices.IndexFunc(a.Parameters, func(p parameterSpec) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &a.Parameters[i]
}
