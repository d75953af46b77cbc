package alert

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	attempts     = 4
	firstPause   = 500 * time.Millisecond
	answerWithin = 5 * time.Second
)

var client = &http.Client{
	Timeout: answerWithin,
	// A webhook that moved is configured anew: its URL is a secret, and so may be the
	// message.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Send posts a message, again after a pause while the receiver is away, says that
// it is busy or has an error of its own. The error shows nothing of the URL.
func (w Webhook) Send(ctx context.Context, m Message) error {
	if m.ID == "" {
		m.ID, m.At = rand.Text(), now()
	}
	body, err := w.body(m)
	if err != nil {
		return err
	}
	address, err := w.URL(ctx)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		again, err := post(ctx, address.Reveal(), m.ID, body)
		if err == nil || !again || attempt == attempts {
			return err
		}
		pause := time.NewTimer(mathrand.N(firstPause << (attempt - 1)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

func (w Webhook) body(m Message) ([]byte, error) {
	if w.Format != "slack" {
		return json.Marshal(m)
	}
	text := "*winch " + m.Event + "*: " + m.Text
	if m.Hint != "" {
		text += "\ntry: " + m.Hint
	}
	// Slack reads these three as markup.
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	return json.Marshal(map[string]string{"text": text})
}

func post(ctx context.Context, address, id string, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("the webhook's URL is none")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "winch")
	req.Header.Set("Webhook-Id", id) // also for receivers of a format without an id
	resp, err := client.Do(req)
	if err != nil {
		var shown *url.Error // has the URL
		if errors.As(err, &shown) {
			err = shown.Err
		}
		return true, fmt.Errorf("the webhook cannot be reached: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch {
	case resp.StatusCode < http.StatusMultipleChoices:
		return false, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError:
		again = true
	}
	return again, fmt.Errorf("the webhook answers %s", resp.Status)
}
