package connectortest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A stranger is a host that is not the vendor's: another name and port.
type stranger struct {
	address string
	close   func()

	mu    sync.Mutex
	asked int
	leaks []string
}

func (e *exam) newStranger() (*stranger, error) {
	st := &stranger{}
	var servers sync.WaitGroup
	l, closeServer, err := listen(&servers, func(w http.ResponseWriter, r *http.Request) {
		body := new(strings.Builder)
		_ = r.Write(body) // what could be read of it
		st.mu.Lock()
		defer st.mu.Unlock()
		st.asked++
		if name, ok := e.secrets.holds(body.String()); ok {
			st.leaks = append(st.leaks, name)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":"nobody knows you here"}`))
	})
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	st.address = "http://" + net.JoinHostPort("localhost", port)
	st.close = func() {
		closeServer()
		servers.Wait()
	}
	return st, nil
}

func (st *stranger) seen() (asked int, leaks []string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.asked, slices.Clone(st.leaks)
}

func checkForeignHost(ctx context.Context, e *exam) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	var p problems
	n := 0
	for _, token := range []bool{false, true} {
		if token && !e.signed {
			continue
		}
		for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
			n++
			if err := e.redirect(ctx, lead, token, status); err != nil {
				p.addf("a %d of %s: %v", status, map[bool]string{true: "the token endpoint", false: "the API"}[token], err)
			}
		}
	}
	return fmt.Sprintf("%d redirects", n), p.err()
}

// redirect redirects one sort of requests to a stranger.
func (e *exam) redirect(ctx context.Context, lead *slice, token bool, status int) error {
	foreign, err := e.newStranger()
	if err != nil {
		return err
	}
	defer foreign.close()
	s, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	s.leash(lead)
	s.gate.set(func(x *exchange) *answer {
		if x.token != token {
			return nil
		}
		return reply(status, `{}`).with("Location", foreign.address+x.target)
	})
	pulled := s.pull(ctx, lead.req, &recording{})
	asked, leaks := foreign.seen()
	switch {
	case len(leaks) > 0:
		return fmt.Errorf("%s went to the other host", strings.Join(leaks, ", "))
	case gaveUp(pulled):
		return pulled
	case pulled == nil:
		return fmt.Errorf("the pull ended without an error, and %d requests at the other host", asked)
	}
	return nil
}
