package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/pkg/connector"
)

// progress shows a pull as it happens, on stderr: bars on a terminal, a line a
// stream elsewhere.
type progress struct {
	mu      sync.Mutex
	out     io.Writer
	bars    *mpb.Progress // nil when stderr is no terminal
	streams map[string]*streamProgress
}

// streamProgress is what is shown of one stream.
type streamProgress struct {
	mu       sync.Mutex
	slices   int
	done     int
	failed   int
	counts   ledger.Counts
	usage    connector.Usage
	inFlight map[ledger.Slice]int64 // records of slices that are not committed
	waiting  string
	bar      *mpb.Bar
	started  time.Time
}

// newProgress starts the display. The log goes above the bars from then on.
func (a *app) newProgress() *progress {
	p := &progress{out: a.stderr, streams: map[string]*streamProgress{}}
	if a.terminal && !a.json() {
		p.bars = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(28), mpb.WithRefreshRate(100*time.Millisecond))
		a.logOutput.redirect(p.bars)
	}
	return p
}

// observe takes the events of any number of runs, from any number of goroutines.
func (p *progress) observe(e pull.Event) {
	name := e.Slice.Source + "/" + e.Slice.Stream
	p.mu.Lock()
	s := p.streams[name]
	if s == nil {
		s = &streamProgress{inFlight: map[ledger.Slice]int64{}, started: time.Now()}
		p.streams[name] = s
	}
	if e.Kind == pull.Planned && e.Slices > 0 {
		s.slices = e.Slices
		if p.bars != nil {
			s.bar = p.bars.AddBar(int64(e.Slices),
				mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
				mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return s.text() })))
		}
	}
	bar := s.bar
	p.mu.Unlock()
	ended, last := s.apply(e)
	if ended && bar != nil {
		bar.Increment() // without s.mu: a bar that is being drawn waits for it, in text
	}
	if last && p.bars == nil {
		fmt.Fprintf(p.out, "%s: %s\n", name, s.text())
	}
}

// apply takes an event in and reports whether it was a slice's last, and the
// stream's.
func (s *streamProgress) apply(e pull.Event) (ended, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = ""
	switch e.Kind {
	case pull.Progress:
		s.inFlight[e.Slice] = e.Records
	case pull.Waiting:
		s.waiting = fmt.Sprintf("waiting %s: %s", e.Wait.Round(time.Second/10), kindText(e.Err))
	case pull.Committed, pull.Failed:
		delete(s.inFlight, e.Slice)
		s.counts = s.counts.Add(e.Counts)
		s.usage = s.usage.Add(e.Usage)
		s.done++
		if e.Kind == pull.Failed {
			s.failed++
		}
		return true, s.done == s.slices
	case pull.Planned, pull.Started, pull.Drifted:
	}
	return false, false
}

// text is the stream's state in a few words.
func (s *streamProgress) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := s.counts.Rows
	for _, n := range s.inFlight {
		records += n
	}
	text := fmt.Sprintf(" %s in %d of %s", count(records, "row"), s.done-s.failed, count(int64(s.slices), "slice"))
	if s.failed > 0 {
		text += fmt.Sprintf(", %d FAILED", s.failed)
	}
	if s.waiting != "" {
		text += ", " + s.waiting
	}
	return text[1:]
}

// end leaves the display as it is; bars of streams that were not finished stay
// where they were.
func (p *progress) end(a *app) {
	if p.bars == nil {
		return
	}
	p.mu.Lock()
	for _, s := range p.streams {
		if s.bar != nil && !s.bar.Completed() {
			s.bar.Abort(false)
		}
	}
	p.mu.Unlock()
	p.bars.Wait()
	a.logOutput.redirect(a.stderr)
}

// redirected is a writer whose target can be changed while it is in use.
type redirected struct {
	mu sync.Mutex
	w  io.Writer
}

func (r *redirected) redirect(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w = w
}

func (r *redirected) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.w.Write(b)
}
