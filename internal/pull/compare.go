package pull

import (
	"context"
	"errors"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
)

// compare finds what changed since the stream was read last, and tells it. The
// error refuses a stream whose old and new rows would be mixed.
func (r *run) compare(ctx context.Context, state *streamState, known map[string]ledger.Declaration, entries []ledger.Entry) error {
	is := state.want.Declaration()
	was, ok := known[is.Stream]
	if ok && was.Equal(is) {
		return nil
	}
	state.declared = &is
	if !ok {
		return nil
	}
	state.result.Changes = ledger.Changes(was, state.want, entries)
	for _, c := range state.result.Changes {
		r.log.InfoContext(ctx, "stream changed", "stream", is.Stream, "what", c.What, "was", c.Was, "is", c.Is,
			"means", c.Means, "command", c.Command, "refused", c.Refused)
	}
	if change, refused := ledger.Refused(state.result.Changes); refused {
		return Refusal(change)
	}
	return nil
}

// Refusal is the error of a stream that is not read because of a change.
func Refusal(c ledger.Change) error {
	hint := "take the change back"
	if c.Command != "" {
		hint = c.Command + ", after which the stream is read from its beginning, or " + hint
	}
	return &sink.Error{Fault: sink.FaultSchema, Op: "compare with what was read", Err: errors.New(c.String()), Hint: hint}
}

// declaration is what the next commit has to record the stream as.
func (s *streamState) declaration() *ledger.Declaration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.declared
}
