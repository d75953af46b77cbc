package sandbox

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// faultText is a fault as JSON: a delay is a text such as "2s".
type faultText struct {
	ID          int       `json:"id,omitempty"`
	Kind        FaultKind `json:"kind"`
	Path        string    `json:"path,omitempty"`
	Probability float64   `json:"probability,omitempty"`
	After       int       `json:"after,omitempty"`
	Count       int       `json:"count,omitempty"`
	Delay       string    `json:"delay,omitempty"`
	Bytes       int64     `json:"bytes,omitempty"`
	Matched     int       `json:"matched"`
	Struck      int       `json:"struck"`
}

func textOf(f FaultState) faultText {
	t := faultText{
		ID: f.ID, Kind: f.Kind, Path: f.Path, Probability: f.Probability, After: f.After, Count: f.Count,
		Bytes: f.Bytes, Matched: f.Matched, Struck: f.Struck,
	}
	if f.Delay != 0 {
		t.Delay = f.Delay.String()
	}
	return t
}

func (t faultText) fault() (Fault, error) {
	f := Fault{Kind: t.Kind, Path: t.Path, Probability: t.Probability, After: t.After, Count: t.Count, Bytes: t.Bytes}
	if t.Delay == "" {
		return f, nil
	}
	var err error
	if f.Delay, err = time.ParseDuration(t.Delay); err != nil {
		return Fault{}, fmt.Errorf(`delay: %q: want a duration such as "2s"`, t.Delay)
	}
	return f, nil
}

// mountControl adds what belongs to the sandbox rather than to a vendor.
func (s *Sandbox) mountControl() {
	s.mux.HandleFunc("GET /{$}", s.serveIndex)
	s.mux.HandleFunc("GET /_sandbox/config", s.serveConfig)
	s.mux.HandleFunc("GET /_sandbox/clock", s.serveClock)
	s.mux.HandleFunc("POST /_sandbox/clock", s.moveClock)
	s.mux.HandleFunc("GET /_sandbox/faults", s.serveFaults)
	s.mux.HandleFunc("POST /_sandbox/faults", s.addFault)
	s.mux.HandleFunc("DELETE /_sandbox/faults", s.clearFaults)
	s.mux.HandleFunc("GET /_sandbox/stats", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, s.Stats()) })
	s.mux.HandleFunc("DELETE /_sandbox/stats", func(w http.ResponseWriter, _ *http.Request) {
		s.ResetStats()
		answerJSON(w, s.Stats())
	})
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client has gone: nobody to tell
}

func refuse(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusBadRequest) }

// baseURL is the address by which the client reached the sandbox.
func baseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func (s *Sandbox) serveConfig(w http.ResponseWriter, r *http.Request) {
	vendor := r.URL.Query().Get("vendor")
	found := []Source{}
	for _, source := range s.Sources(baseURL(r)) {
		if vendor == "" || source.Connector == vendor {
			found = append(found, source)
		}
	}
	answerJSON(w, map[string]any{"sources": found})
}

func (s *Sandbox) serveClock(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, map[string]any{"as_of": s.AsOf(), "history_begins": s.Begin()})
}

func (s *Sandbox) moveClock(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		AsOf    string `json:"as_of"`
		Advance string `json:"advance"`
	}
	form, err := readInto(r, &ask)
	if form != nil {
		ask.AsOf, ask.Advance = form.Get("as_of"), form.Get("advance")
	}
	to := s.AsOf()
	switch {
	case err != nil:
	case (ask.AsOf == "") == (ask.Advance == ""):
		err = errors.New(`want either "as_of" or "advance"`)
	case ask.AsOf != "":
		if to, err = time.Parse(time.RFC3339, ask.AsOf); err != nil {
			err = fmt.Errorf("as_of: %q: want a moment such as 2026-03-01T00:00:00Z", ask.AsOf)
		}
	default:
		var by time.Duration
		if by, err = time.ParseDuration(ask.Advance); err != nil {
			err = fmt.Errorf(`advance: %q: want a duration such as "24h"`, ask.Advance)
		}
		to = to.Add(by)
	}
	if err == nil {
		err = s.SetAsOf(to)
	}
	switch {
	case err != nil:
		refuse(w, err)
	case form != nil:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	default:
		s.serveClock(w, r)
	}
}

func (s *Sandbox) serveFaults(w http.ResponseWriter, _ *http.Request) {
	on := []faultText{}
	for _, f := range s.Faults() {
		on = append(on, textOf(f))
	}
	answerJSON(w, map[string]any{"on": on, "kinds": faultKinds})
}

func (s *Sandbox) addFault(w http.ResponseWriter, r *http.Request) {
	var text faultText
	form, err := readInto(r, &text)
	if form != nil {
		if form.Has("clear") {
			s.ClearFaults()
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		if form.Has("remove") {
			id, err := strconv.Atoi(form.Get("remove"))
			if err != nil || !s.RemoveFault(id) {
				http.Error(w, "no such fault", http.StatusNotFound)
				return
			}
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		text, err = faultForm(form)
	}
	var f Fault
	if err == nil {
		f, err = text.fault()
	}
	var id int
	if err == nil {
		id, err = s.AddFault(f)
	}
	switch {
	case err != nil:
		refuse(w, err)
	case form != nil:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	default:
		answerJSON(w, map[string]int{"id": id})
	}
}

func (s *Sandbox) clearFaults(w http.ResponseWriter, r *http.Request) {
	if text := r.URL.Query().Get("id"); text != "" {
		if id, err := strconv.Atoi(text); err != nil || !s.RemoveFault(id) {
			http.Error(w, "no such fault: "+text, http.StatusNotFound)
			return
		}
	} else {
		s.ClearFaults()
	}
	s.serveFaults(w, r)
}

// faultForm reads the fields of the page's form; empty ones are defaults.
func faultForm(form url.Values) (t faultText, err error) {
	t = faultText{Kind: FaultKind(form.Get("kind")), Path: form.Get("path"), Delay: form.Get("delay")}
	number := func(name string, set func(string) error) {
		if v := form.Get(name); v != "" && err == nil && set(v) != nil {
			err = fmt.Errorf("%s: %q: want a number", name, v)
		}
	}
	number("probability", func(v string) (err error) { t.Probability, err = strconv.ParseFloat(v, 64); return err })
	number("after", func(v string) (err error) { t.After, err = strconv.Atoi(v); return err })
	number("count", func(v string) (err error) { t.Count, err = strconv.Atoi(v); return err })
	number("bytes", func(v string) (err error) { t.Bytes, err = strconv.ParseInt(v, 10, 64); return err })
	return t, err
}

// readInto reads a JSON body into v, or returns the fields of a form.
func readInto(r *http.Request, v any) (form url.Values, err error) {
	r.Body = http.MaxBytesReader(nil, r.Body, 64<<10)
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		if err := r.ParseForm(); err != nil {
			return nil, fmt.Errorf("form: %w", err)
		}
		return r.PostForm, nil
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return nil, fmt.Errorf("want a JSON object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one JSON object")
	}
	return nil, nil
}

//go:embed index.html
var indexText string

var index = template.Must(template.New("index").Parse(indexText))

type indexVendor struct {
	Place, BaseURL string
	sim.Description
}

func (s *Sandbox) serveIndex(w http.ResponseWriter, r *http.Request) {
	base := baseURL(r)
	page := struct {
		Base    string
		AsOf    string
		Begin   string
		Vendors []indexVendor
		On      []faultText
		Kinds   []kindText
	}{
		Base: base, AsOf: s.AsOf().Format("2006-01-02 15:04:05 MST"), Begin: s.Begin().Format(time.DateOnly), Kinds: faultKinds,
	}
	for _, api := range s.apis {
		url := mountURL(base, api)
		page.Vendors = append(page.Vendors, indexVendor{"/" + api.Name(), url, api.Description(url)})
	}
	for _, f := range s.Faults() {
		page.On = append(page.On, textOf(f))
	}
	var text bytes.Buffer
	if err := index.Execute(&text, page); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(text.Bytes())
}
