package lineage

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/winchdata/winch/internal/post"
	"github.com/winchdata/winch/pkg/connector"
)

const (
	// waitingEvents and waitingBytes are how much may wait to be sent.
	waitingEvents = 4096
	waitingBytes  = 8 << 20
)

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
		attempts := post.Attempts
		if away {
			attempts = 1
		}
		err := s.send(ctx, body, attempts)
		if err != nil {
			s.lost.Add(1)
			if !away {
				s.log.WarnContext(ctx, "lineage is not taken by its receiver", "error", err)
			}
		}
		away = err != nil
	}
}

func (s *sender) send(ctx context.Context, body []byte, attempts int) error {
	letter := post.Letter{To: "the receiver", URL: s.url, Body: body}
	if !s.key.IsZero() {
		letter.Header = map[string]string{"Authorization": "Bearer " + s.key.Reveal()}
	}
	return letter.Send(ctx, attempts)
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
