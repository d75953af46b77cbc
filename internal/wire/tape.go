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
	switch {
	case req.GetRecordTo() != "" && req.GetReplayFrom() != "":
		return t, &connector.Error{Kind: connector.KindConfig, Op: "open", Err: errors.New("a cassette cannot be recorded and replayed at once")}
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

func (t tape) close() error {
	if t.recorder != nil {
		return t.recorder.Close()
	}
	return nil
}
