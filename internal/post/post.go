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

// Refused is the error of a letter that its receiver does not want, asked twice.
type Refused struct{ error }

// Send posts the letter up to so many times: again after a pause while the receiver
// is away, says that it is busy or has an error of its own, and once more after it
// refused the letter. The error shows nothing of the URL.
func (l Letter) Send(ctx context.Context, attempts int) error {
	refusals := 0
	for attempt := 1; ; attempt++ {
		v, err := l.send(ctx)
		if v == refused {
			refusals++
		}
		switch {
		case refusals == 2:
			return Refused{err}
		case v == taken, v == astray, attempt >= attempts+refusals:
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

// A verdict is what an answer means for the letter.
type verdict int

const (
	taken   verdict = iota
	away            // it may be taken in a moment
	astray          // the receiver is configured wrongly, for this letter as for the next
	refused         // the receiver does not want this letter
)

func judge(status int) verdict {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return away
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusGone:
		return astray // also of a receiver whose token has ended, or whose channel is gone
	}
	switch {
	case status < http.StatusMultipleChoices:
		return taken
	case status < http.StatusBadRequest:
		return astray // redirects are not followed
	case status < http.StatusInternalServerError:
		return refused
	}
	return away
}

func (l Letter) send(ctx context.Context) (verdict, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL, bytes.NewReader(l.Body))
	if err != nil {
		return astray, fmt.Errorf("%s's URL is none", l.To)
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
		return away, fmt.Errorf("%s cannot be reached: %w", l.To, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	v := judge(resp.StatusCode)
	if v == taken {
		return v, nil
	}
	return v, fmt.Errorf("%s answers %s", l.To, resp.Status)
}
