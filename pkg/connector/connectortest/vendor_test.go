package connectortest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	toyID     = "toy-client"
	toySecret = "canary-client-secret"
)

// toyNow is where the toy vendor's data ends.
var toyNow = time.Date(2024, 3, 20, 15, 0, 0, 0, time.UTC)

// A toyVendor behaves: tokens at /token, and below /v1 things by pages, events by
// windows and pages, changes by positions.
type toyVendor struct {
	mu     sync.Mutex
	issued map[string]bool
}

func (v *toyVendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/token" {
		v.grant(w, r)
		return
	}
	v.mu.Lock()
	known := v.issued[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	v.mu.Unlock()
	if !known {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"token expired"}`)
		return
	}
	q := r.URL.Query()
	page, _ := strconv.Atoi(q.Get("page"))
	switch r.URL.Path {
	case "/v1/things":
		toyPage(w, "things", toyThings, page)
	case "/v1/events":
		var in []map[string]any
		for _, e := range toyEvents {
			if at := e["at"].(string); at >= q.Get("from") && at < q.Get("to") {
				in = append(in, e)
			}
		}
		toyPage(w, "events", in, page)
	case "/v1/changes":
		after, _ := strconv.Atoi(q.Get("after"))
		toyPage(w, "changes", toyChanges[min(after, len(toyChanges)):], 0)
	default:
		http.NotFound(w, r)
	}
}

func (v *toyVendor) grant(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.ID != toyID || !strings.HasPrefix(asked.Secret, toySecret) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.issued == nil {
		v.issued = map[string]bool{}
	}
	token := fmt.Sprintf("toy-token-%06d", len(v.issued)+1)
	v.issued[token] = true
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":300}`, token)
}

const toyPageSize = 2

func toyPage(w http.ResponseWriter, key string, all []map[string]any, page int) {
	from := min(page*toyPageSize, len(all))
	part := all[from:min(from+toyPageSize, len(all))]
	if part == nil {
		part = []map[string]any{}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{key: part})
}

var toyThings, toyEvents, toyChanges = toyData()

func toyData() (things, events, changes []map[string]any) {
	for i := range 5 {
		things = append(things, map[string]any{"id": i + 1, "name": fmt.Sprintf("thing %d", i+1)})
		changes = append(changes, map[string]any{"seq": i + 1, "what": fmt.Sprintf("change %d", i+1)})
	}
	// Events at each midnight too, where windows meet.
	for at := toyNow.AddDate(0, 0, -9).Truncate(24 * time.Hour); at.Before(toyNow); at = at.Add(6 * time.Hour) {
		events = append(events, map[string]any{"id": len(events) + 1, "at": at.Format(time.RFC3339)})
	}
	return things, events, changes
}
