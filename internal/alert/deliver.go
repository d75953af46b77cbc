package alert

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/post"
	"github.com/winchdata/winch/internal/sink"
)

const (
	// tellFor bounds telling, so that a webhook that is away costs a pull no more.
	tellFor = 20 * time.Second
	// claimFor is longer: while it lasts nobody else tells the same.
	claimFor = tellFor + recordFor
)

// pending is a message as it is recorded: its moment and its id are those of the
// recording.
func pending(m Message) string {
	m.ID, m.At = rand.Text(), now()
	text, err := json.Marshal(m)
	if err != nil {
		panic("a message is JSON: " + err.Error()) // it is made of texts, numbers and times
	}
	return string(text)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Deliver tells the webhooks, side by side, what they are to be told and were not.
// What one does not take it is told the next time, unless it refuses it for good.
func (t *Teller) Deliver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellFor)
	defer cancel()
	open := map[string]Webhook{}
	for _, w := range t.Webhooks {
		open[w.Name] = w
	}
	for len(open) > 0 {
		names := make([]string, 0, len(open))
		for name := range open {
			names = append(names, name)
		}
		messages, err := t.Store.ClaimAlerts(ctx, names, claimFor)
		if err != nil {
			t.Log.WarnContext(ctx, "alerts not told", "error", err)
			return
		}
		if len(messages) == 0 {
			return // also what was recorded meanwhile is told
		}
		for _, name := range t.deliver(ctx, open, messages) {
			delete(open, name)
		}
	}
}

// deliver tells messages, each webhook its own in their order, and returns the
// webhooks that did not take theirs.
func (t *Teller) deliver(ctx context.Context, webhooks map[string]Webhook, messages []sink.PendingAlert) (away []string) {
	var (
		mu      sync.Mutex
		telling sync.WaitGroup
	)
	for name, w := range webhooks {
		own := slices.DeleteFunc(slices.Clone(messages), func(p sink.PendingAlert) bool { return p.Alert != name })
		if len(own) == 0 {
			continue
		}
		telling.Go(func() {
			if !t.tell(ctx, w, own) {
				mu.Lock()
				defer mu.Unlock()
				away = append(away, name)
			}
		})
	}
	telling.Wait()
	return away
}

// tell tells one webhook its messages until it does not take one, and reports
// whether it took all. What it refuses for good is dropped: kept, it would hold back
// all that comes after it.
func (t *Teller) tell(ctx context.Context, w Webhook, messages []sink.PendingAlert) bool {
	for i, p := range messages {
		var m Message
		err := json.Unmarshal([]byte(p.Message), &m)
		if err == nil {
			err = w.Send(ctx, m)
		}
		dropped := errors.As(err, new(post.Refused))
		if dropped {
			t.Log.ErrorContext(ctx, "alert dropped", "alert", w.Name, "event", m.Event, "source", m.Source, "stream", m.Stream, "id", m.ID, "error", err,
				"hint", "see whether the format of the webhook fits its receiver: winch alerts test sends it a message")
		}
		if err == nil || dropped {
			err = recording(ctx, func(ctx context.Context) error { return t.Store.AlertTold(ctx, p.ID) })
		}
		if err == nil {
			t.Metrics.Told(ctx, w.Name, dropped)
			continue
		}
		rest := make([]int64, 0, len(messages)-i)
		for _, left := range messages[i:] {
			rest = append(rest, left.ID)
		}
		err = errors.Join(err, recording(ctx, func(ctx context.Context) error { return t.Store.ReleaseAlerts(ctx, rest) }))
		t.Log.WarnContext(ctx, "alert not told", "alert", w.Name, "event", m.Event, "source", m.Source, "stream", m.Stream, "error", err)
		return false
	}
	return true
}

// recording records something, whenever ctx ends but not for longer than recordFor.
func recording(ctx context.Context, record func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	return record(ctx)
}
