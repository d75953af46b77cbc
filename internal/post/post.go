// Package post posts JSON to those who are told something: webhooks, and receivers
// of lineage.
package post

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

const (
	// Attempts is how often a letter is sent to a receiver that was not away before.
	Attempts = 4

	firstPause   = 500 * time.Millisecond
	answerWithin = 5 * time.Second
)

var client = &http.Client{
	Timeout: answerWithin,
	// Who moved is configured anew: the URL is a secret, or a key comes with it, and so
	// may be what is said.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// A Letter is JSON for one receiver.
type Letter struct {
	To     string // the receiver, as errors call it
	URL    string
	Header map[string]string // beside what says that it is JSON
	Body   []byte
}

// Send posts the letter up to so many times: again after a pause while the receiver
// is away, says that it is busy or has an error of its own. The error shows nothing
// of the URL.
func (l Letter) Send(ctx context.Context, attempts int) error {
	for attempt := 1; ; attempt++ {
		again, err := l.send(ctx)
		if err == nil || !again || attempt >= attempts {
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

func (l Letter) send(ctx context.Context) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL, bytes.NewReader(l.Body))
	if err != nil {
		return false, fmt.Errorf("%s's URL is none", l.To)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "winch")
	for name, value := range l.Header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		var shown *url.Error // has the URL
		if errors.As(err, &shown) {
			err = shown.Err
		}
		return true, fmt.Errorf("%s cannot be reached: %w", l.To, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch {
	case resp.StatusCode < http.StatusMultipleChoices:
		return false, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError:
		again = true
	}
	return again, fmt.Errorf("%s answers %s", l.To, resp.Status)
}
