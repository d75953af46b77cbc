package sandbox

import (
	"bytes"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// serve answers a request the way the fault has it.
func (f Fault) serve(api sim.API, w http.ResponseWriter, r *http.Request, now time.Time) {
	switch f.Kind {
	case FaultUnauthorized:
		api.Tokens().Revoke(r)
		api.Fail(w, http.StatusUnauthorized)
	case FaultMovedBase:
		if m, ok := api.(sim.Mover); ok {
			m.Move()
		}
		api.Tokens().Revoke(r)
		api.Fail(w, http.StatusUnauthorized)
	case FaultRateSeconds:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.Delay.Seconds()))))
		api.Fail(w, http.StatusTooManyRequests)
	case FaultRateDate:
		w.Header().Set("Retry-After", now.Add(f.Delay+time.Second-1).UTC().Format(http.TimeFormat))
		api.Fail(w, http.StatusTooManyRequests)
	case FaultRateSilent:
		api.Fail(w, http.StatusTooManyRequests)
	case FaultServerError:
		api.Fail(w, http.StatusInternalServerError)
	case FaultUnavailable:
		api.Fail(w, http.StatusServiceUnavailable)
	case FaultErrorsWithOK:
		api.Fail(w, http.StatusOK)
	case FaultHTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!DOCTYPE html>\n<html><head><title>Please wait</title></head><body><h1>Scheduled maintenance</h1></body></html>\n")
	case FaultReset:
		reset(w)
	case FaultRepeatedPage:
		api.Serve(w, r, sim.Twist{RepeatPage: true})
	case FaultEndlessPages:
		api.Serve(w, r, sim.Twist{EndlessPages: true})
	case FaultShortTokens:
		api.Serve(w, r, sim.Twist{TokenLifetime: f.Delay})
	case FaultTruncated:
		whole := keep(api, w, r)
		whole.body = whole.body[:len(whole.body)/2]
		whole.send(w, len(whole.body))
	case FaultCutOff:
		whole := keep(api, w, r)
		size := len(whole.body)
		whole.body = whole.body[:size/2]
		whole.send(w, size)
		_ = http.NewResponseController(w).Flush() // the client must see the half before the end
		panic(http.ErrAbortHandler)
	case FaultSlow:
		keep(api, w, r).drip(r.Context(), w, f.Delay)
	case FaultHugeBody:
		keep(api, w, r).pad(w, f.Bytes)
	}
}

// reset closes the connection so that the client's kernel sees a reset. Where
// the connection cannot be had, as over HTTP/2, the stream is aborted.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // then Close sends RST; without it the end is only gentler
	}
	_ = conn.Close()
}

// A kept response is in memory, so that its way can be spoiled. Its header is the
// real one.
type kept struct {
	header http.Header
	status int
	body   []byte
}

// keep serves honestly into memory.
func keep(api sim.API, w http.ResponseWriter, r *http.Request) *kept {
	k := &kept{header: w.Header(), status: http.StatusOK}
	api.Serve(k, r, sim.Twist{})
	return k
}

func (k *kept) Header() http.Header    { return k.header }
func (k *kept) WriteHeader(status int) { k.status = status }
func (k *kept) Write(b []byte) (int, error) {
	k.body = append(k.body, b...)
	return len(b), nil
}

// send sends the body and promises size bytes.
func (k *kept) send(w http.ResponseWriter, size int) {
	w.Header().Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(k.status)
	_, _ = w.Write(k.body) // the client has gone: nobody to tell
}

// pad sends white space before the body, which leaves JSON whole.
func (k *kept) pad(w http.ResponseWriter, size int64) {
	w.Header().Del("Content-Length")
	w.WriteHeader(k.status)
	blank := bytes.Repeat([]byte{' '}, 64<<10)
	for left := size; left > 0; left -= int64(len(blank)) {
		if _, err := w.Write(blank[:min(left, int64(len(blank)))]); err != nil {
			return // the client has had enough
		}
	}
	_, _ = w.Write(k.body) // as above
}

// drips is in how many parts a slow body comes.
const drips = 20

// drip sends the body in parts over the delay.
func (k *kept) drip(ctx context.Context, w http.ResponseWriter, delay time.Duration) {
	w.Header().Del("Content-Length")
	w.WriteHeader(k.status)
	control := http.NewResponseController(w)
	part := len(k.body)/drips + 1
	for body := k.body; len(body) > 0; {
		n := min(part, len(body))
		if _, err := w.Write(body[:n]); err != nil {
			return // the client has gone
		}
		_ = control.Flush() // fails only if the connection cannot be flushed, and then slow is slow enough
		body = body[n:]
		timer := time.NewTimer(delay / drips)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
