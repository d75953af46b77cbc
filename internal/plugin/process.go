package plugin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/winchdata/winch/internal/wire"
	"github.com/winchdata/winch/pkg/connector"
)

const (
	// closeGrace is how long a connector may take to end when it is told to.
	closeGrace = 3 * time.Second
	// lostGrace is how long the news of a connector's death may come after the
	// end of its connection.
	lostGrace = 2 * time.Second
)

// A Process is a running connector.
type Process struct {
	name       string
	child      *child
	client     *goplugin.Client
	tls        *tls.Config // of the client
	wire       *wire.Client
	definition connector.Definition
	stdout     *lineWriter
	stderr     *lineWriter

	spans   *spanStream // nil if nobody traces
	close   sync.Once
	closing atomic.Bool
	peak    atomic.Int64
}

// Definition is what the connector says of itself. It has no Open; the process
// has.
func (p *Process) Definition() connector.Definition { return p.definition }

// Open opens a source in the process. The source also implements
// connector.Checker, Tokener, Partitioner, Limiter and io.Closer; what the connector's own
// source lacks returns errors.ErrUnsupported. Usage is recorded with the context
// of each call. When the process dies, the calls that were running and all later
// ones return an error of KindUnavailable with a *Crash in its tree.
func (p *Process) Open(ctx context.Context, cfg connector.Config) (connector.Source, error) {
	src, err := p.wire.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return src, nil
}

// PID is the number of the process.
func (p *Process) PID() int {
	p.child.mu.Lock()
	defer p.child.mu.Unlock()
	return p.child.pid
}

// Done is closed when the process has ended, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.child.exited }

// Memory is what the process has resident now, in bytes; 0 if it has ended or the
// system does not tell.
func (p *Process) Memory() int64 { return resident(p.PID()) }

// PeakMemory is the most memory that the process ever had resident, in bytes. It
// is known after Close, and 0 if the system did not tell.
func (p *Process) PeakMemory() int64 { return p.peak.Load() }

// Close tells the connector to end, ends it and what it started if it does not,
// and returns when all are gone. Calls that are still running fail. Closing twice
// is allowed.
func (p *Process) Close() error {
	p.close.Do(func() {
		p.closing.Store(true)
		peak := residentPeak(p.PID())
		p.spans.finish()
		// go-plugin asks the connector to shut down, and waits for the answer
		// without end.
		timer := time.AfterFunc(closeGrace, p.child.kill)
		p.client.Kill()
		timer.Stop()
		if p.child.started() {
			<-p.child.exited
			if peak == 0 {
				peak = accountedPeak(p.child.cmd.ProcessState)
			}
		}
		p.peak.Store(peak)
		_, _ = p.stdout.Close(), p.stderr.Close()
	})
	return nil
}

// lost says what became of the process when the connection to it failed.
func (p *Process) lost(err error) error {
	unavailable := func(err error, hint string) error {
		return &connector.Error{Kind: connector.KindUnavailable, Err: err, Hint: hint}
	}
	if p.closing.Load() {
		return unavailable(fmt.Errorf("connector %s was stopped", p.name), "")
	}
	grace := time.NewTimer(lostGrace)
	defer grace.Stop()
	select {
	case <-p.child.exited:
	case <-grace.C:
		text := err.Error()
		if st, ok := status.FromError(err); ok && st.Code() != codes.OK {
			text = st.Message()
		}
		return unavailable(fmt.Errorf("connector %s cannot be reached, though it is running: %w", p.name, errors.New(text)), "")
	}
	crash := &Crash{Connector: p.name, PID: p.PID(), Status: p.child.cmd.ProcessState.String(), LastWords: p.child.words.lines()}
	return unavailable(crash, crash.hint())
}
