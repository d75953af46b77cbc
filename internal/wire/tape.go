package wire

import (
	"context"
	"errors"

	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
)

// A tape is the cassette of an opened source, being recorded or replayed. The
// zero tape is none.
type tape struct {
	recorder *cassette.Recorder
	player   *cassette.Player
}

// load opens the cassette that the agent asks for.
func (s *Server) load(req *connectorpb.OpenRequest) (t tape, err error) {
	secrets := cassette.Secrets(s.definition.ConfigSchema, req.GetConfig())
	chosen := 0
	for _, path := range []string{req.GetRecordTo(), req.GetReplayFrom(), req.GetKeepFailedTo()} {
		if path != "" {
			chosen++
		}
	}
	switch {
	case chosen > 1:
		return t, &connector.Error{Kind: connector.KindConfig, Op: "open", Err: errors.New("a cassette can be recorded, replayed or kept for failures: one of them")}
	case req.GetKeepFailedTo() != "":
		t.recorder = cassette.KeepLast(req.GetKeepFailedTo(), cassette.Options{Secrets: secrets, Streams: s.definition.Streams})
	case req.GetRecordTo() != "":
		t.recorder, err = cassette.Record(req.GetRecordTo(), cassette.Options{Secrets: secrets, Streams: s.definition.Streams})
	case req.GetReplayFrom() != "":
		t.player, err = cassette.Replay(req.GetReplayFrom(), secrets)
	}
	return t, err
}

// with returns a context whose requests use the cassette.
func (t tape) with(ctx context.Context) context.Context {
	switch {
	case t.recorder != nil:
		return cassette.With(ctx, t.recorder)
	case t.player != nil:
		return cassette.With(ctx, t.player)
	}
	return ctx
}

// streams makes known what the streams of the source mark.
func (t tape) streams(all []connector.Stream) {
	if t.recorder != nil {
		t.recorder.Mark(all)
	}
}

// pull notes which slice is pulled.
func (t tape) pull(req connector.Request) {
	if t.recorder != nil {
		t.recorder.Pull(req)
	}
}

// failed keeps what was said last before a call failed; req is a pull's.
func (t tape) failed(ctx context.Context, req connector.Request, err error) {
	if t.recorder != nil && err != nil && ctx.Err() == nil && !errors.Is(err, errors.ErrUnsupported) {
		t.recorder.Failed(req, err)
	}
}

func (t tape) close() error {
	if t.recorder != nil {
		return t.recorder.Close()
	}
	return nil
}
