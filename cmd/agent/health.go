package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

const (
	// stillAfter is how long the scheduler's loop may not come round before the
	// process counts as ill. It comes round every half minute.
	stillAfter = 2 * time.Minute
	// readyTimeout bounds the question to the store.
	readyTimeout = 2 * time.Second
)

// A webServer answers for a server.
type webServer struct {
	listener net.Listener
	http     *http.Server
}

func (s *server) webServer(listener net.Listener) *webServer {
	started := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.health(started)) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, s.ready(r.Context())) })
	if scrape := s.app.observed.telemetry.Scrape(); scrape != nil {
		mux.Handle("GET /metrics", scrape)
	}
	return &webServer{listener, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
}

// run answers until close.
func (w *webServer) run() error {
	if err := w.http.Serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// close ends all connections.
func (w *webServer) close() error { return w.http.Close() }

// A condition is how a server is, as JSON. Scripts rely on it.
type condition struct {
	Status string `json:"status"` // ok or unavailable
	Reason string `json:"reason,omitempty"`
	// What follows is told by /readyz alone.
	Schedules      int        `json:"schedules,omitempty"`
	NextTick       *time.Time `json:"next_tick,omitempty"`
	LateSeconds    float64    `json:"late_seconds"`     // of the last tick that this agent decided
	MaxLateSeconds float64    `json:"max_late_seconds"` // of all of them
	Waiting        int        `json:"jobs_waiting"`
	Running        int        `json:"jobs_running"`
}

func unavailable(reason string) condition { return condition{Status: "unavailable", Reason: reason} }

func answer(w http.ResponseWriter, c condition) {
	w.Header().Set("Content-Type", "application/json")
	if c.Status != "ok" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(c) // the client has gone otherwise
}

// health says whether the process goes on.
func (s *server) health(started time.Time) condition {
	turned := s.scheduler.Stats().Turned
	if turned.IsZero() {
		turned = started
	}
	// A scheduler that cannot reach the store turns without end, which is not cured
	// by starting the process again. One that shuts down or is drained decides nothing.
	if still := time.Since(turned); still > stillAfter && time.Since(s.scheduler.Tried()) > stillAfter && !s.shift.Load().ending() {
		return unavailable("the scheduler stands still since " + still.Round(time.Second).String())
	}
	return condition{Status: "ok"}
}

// ready says whether the process can do its work: the store answers, its tables are
// current, the schedules are loaded, and no shutdown has begun.
func (s *server) ready(ctx context.Context) condition {
	if s.shift.Load().ending() {
		return unavailable("shutting down")
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if _, err := s.store.Now(ctx); err != nil {
		return unavailable("the store does not answer: " + err.Error())
	}
	stats := s.scheduler.Stats()
	if stats.Turned.IsZero() {
		return unavailable("the schedules are not registered yet")
	}
	depth, err := s.queue.Depth(ctx)
	if err != nil {
		return unavailable("the queue does not answer: " + err.Error())
	}
	c := condition{
		Status: "ok", Schedules: stats.Schedules, Waiting: depth.Waiting, Running: depth.Running,
		LateSeconds: stats.Lateness.Seconds(), MaxLateSeconds: stats.MaxLateness.Seconds(),
	}
	if !stats.Next.IsZero() {
		next := stats.Next.UTC()
		c.NextTick = &next
	}
	return c
}
