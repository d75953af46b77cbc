// Package lineagetest receives lineage for tests, as any receiver of OpenLineage
// does, and holds each event to the published schema.
package lineagetest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed spec
var spec embed.FS

// A Receiver is a receiver of OpenLineage on loopback.
type Receiver struct {
	// URL is its base.
	URL string

	mu      sync.Mutex
	events  []Event
	bodies  [][]byte
	keys    []string
	answers []int
}

// An Event is what a test asks of one.
type Event struct {
	Type    string `json:"eventType"`
	Time    string `json:"eventTime"`
	Run     Run    `json:"run"`
	Job     Job    `json:"job"`
	Inputs  []Set  `json:"inputs"`
	Outputs []Set  `json:"outputs"`
}

// Run, Job and Set are the parts of an Event.
type (
	Run struct {
		ID     string                    `json:"runId"`
		Facets map[string]map[string]any `json:"facets"`
	}
	Job struct {
		Namespace, Name string
		Facets          map[string]map[string]any
	}
	Set struct {
		Namespace, Name                   string
		Facets, InputFacets, OutputFacets map[string]map[string]any
	}
)

// String is the kind and the job.
func (e Event) String() string { return e.Type + " " + e.Job.Name }

// New starts a receiver that ends with the test. It answers with the statuses that
// are given, then 201; what it refuses it does not keep.
func New(t *testing.T, answers ...int) *Receiver {
	t.Helper()
	r := &Receiver{answers: answers}
	schemas := compiler(t)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the sender was killed
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.answers) > 0 {
			status := r.answers[0]
			r.answers = r.answers[1:]
			rw.WriteHeader(status)
			return
		}
		if req.Method != http.MethodPost || req.URL.Path != "/api/v1/lineage" || req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s with %s", req.Method, req.URL.Path, req.Header.Get("Content-Type"))
		}
		if err := schemas.check(body); err != nil {
			t.Errorf("%v\n%s", err, body)
		}
		var e Event
		if err := json.Unmarshal(body, &e); err != nil {
			t.Error(err)
		}
		r.events, r.bodies, r.keys = append(r.events, e), append(r.bodies, body), append(r.keys, req.Header.Get("Authorization"))
		rw.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Events are what was taken so far, in their order.
func (r *Receiver) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}

// Bodies are the events as they came.
func (r *Receiver) Bodies() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([][]byte(nil), r.bodies...)
}

// Keys are the Authorization headers of the events.
func (r *Receiver) Keys() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.keys...)
}

// schemas check events. They are compiled as they are asked for, under the lock
// of the receiver.
type schemas struct{ *jsonschema.Compiler }

const published = "https://openlineage.io/spec/"

func compiler(t *testing.T) schemas {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	err := fs.WalkDir(spec, "spec", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		content, err := spec.ReadFile(path)
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
		if err != nil {
			return err
		}
		id, _ := doc.(map[string]any)["$id"].(string)
		return c.AddResource(id, doc)
	})
	if err != nil {
		t.Fatal(err)
	}
	return schemas{c}
}

// check holds an event, and each of its facets, to the schema that it names.
func (s schemas) check(body []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	event, ok := doc.(map[string]any)
	if !ok {
		return fmt.Errorf("no object")
	}
	named, _ := event["schemaURL"].(string)
	if !strings.HasSuffix(named, "#/$defs/RunEvent") {
		return fmt.Errorf("schemaURL %q", named)
	}
	base, _, _ := strings.Cut(named, "#")
	for _, schema := range []string{named, base} { // the whole demands one kind of event
		if err := s.validate(schema, doc); err != nil {
			return err
		}
	}
	return s.facets(doc)
}

func (s schemas) validate(schema string, doc any) error {
	if !strings.HasPrefix(schema, published) {
		return fmt.Errorf("the schema %q is not a published one", schema)
	}
	compiled, err := s.Compile(schema)
	if err != nil {
		return err
	}
	return compiled.Validate(doc)
}

// facets checks what names its own schema, wherever it stands.
func (s schemas) facets(v any) error {
	switch v := v.(type) {
	case map[string]any:
		if named, ok := v["_schemaURL"].(string); ok {
			if err := s.validate(named, v); err != nil {
				return err
			}
		}
		for _, child := range v {
			if err := s.facets(child); err != nil {
				return err
			}
		}
	case []any:
		for _, child := range v {
			if err := s.facets(child); err != nil {
				return err
			}
		}
	}
	return nil
}
