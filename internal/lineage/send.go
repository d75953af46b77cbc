package lineage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

const (
	// waitingEvents and waitingBytes are how much may wait to be sent.
	waitingEvents = 4096
	waitingBytes  = 8 << 20

	attempts     = 4
	firstPause   = 500 * time.Millisecond
	answerWithin = 5 * time.Second
)

var client = &http.Client{
	Timeout: answerWithin,
	// The key is for the receiver that was named.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// A sender sends events in their order, without anybody waiting for it.
type sender struct {
	url     string
	key     connector.Secret
	log     *slog.Logger
	waiting atomic.Int64 // bytes
	lost    atomic.Int64 // events that were dropped or not taken
	cancel  context.CancelFunc
	done    chan struct{} // closed when all is sent

	mu     sync.Mutex
	closed bool
	events chan []byte
}

func startSender(ctx context.Context, address string, key connector.Secret, log *slog.Logger) *sender {
	s := &sender{url: address, key: key, log: log, done: make(chan struct{}), events: make(chan []byte, waitingEvents)}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go s.run(ctx) // awaited by Shutdown
	return s
}

// tell puts an event into the queue. It never waits: what does not fit is dropped
// and counted.
func (s *sender) tell(e event) {
	body, err := json.Marshal(e)
	if err != nil {
		panic("an event is JSON: " + err.Error()) // it is made of texts and numbers
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.waiting.Load()+int64(len(body)) > waitingBytes {
		s.lost.Add(1)
		return
	}
	select {
	case s.events <- body:
		s.waiting.Add(int64(len(body)))
	default:
		s.lost.Add(1)
	}
}

// run sends what is in the queue. While the receiver is away each event is tried
// once, so that the queue does not grow for nothing.
func (s *sender) run(ctx context.Context) {
	defer close(s.done)
	away := false
	for body := range s.events {
		s.waiting.Add(-int64(len(body)))
		tries := attempts
		if away {
			tries = 1
		}
		err := s.send(ctx, body, tries)
		if err != nil {
			s.lost.Add(1)
			if !away {
				s.log.WarnContext(ctx, "lineage is not taken by its receiver", "error", err)
			}
		}
		away = err != nil
	}
}

func (s *sender) send(ctx context.Context, body []byte, tries int) error {
	for attempt := 1; ; attempt++ {
		again, err := s.post(ctx, body)
		if err == nil || !again || attempt >= tries {
			return err
		}
		pause := time.NewTimer(rand.N(firstPause << (attempt - 1)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

func (s *sender) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("the receiver's URL is none")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "winch")
	if !s.key.IsZero() {
		req.Header.Set("Authorization", "Bearer "+s.key.Reveal())
	}
	resp, err := client.Do(req)
	if err != nil {
		var shown *url.Error
		if errors.As(err, &shown) {
			err = shown.Err // the URL is known to who configured it
		}
		return true, fmt.Errorf("the receiver cannot be reached: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch {
	case resp.StatusCode < http.StatusMultipleChoices:
		return false, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError:
		again = true
	}
	return again, fmt.Errorf("the receiver answers %s", resp.Status)
}

// Shutdown sends what is left, for as long as ctx allows.
func (t *Teller) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	defer t.cancel()
	t.mu.Lock()
	t.closed = true
	close(t.events)
	t.mu.Unlock()
	var err error
	select {
	case <-t.done:
	case <-ctx.Done():
		err = fmt.Errorf("lineage: the last events were not sent: %w", ctx.Err())
		t.cancel()
		<-t.done
	}
	if lost := t.lost.Load(); lost > 0 {
		t.log.WarnContext(ctx, "events of lineage were lost", "events", lost)
	}
	return err
}
