package main

import (
	"context"
	"fmt"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
)

// replaySources pulls again what cassettes were recorded for. Nothing is written:
// stand-ins have no place among the rows.
func (a *app) replaySources(ctx context.Context, launcher *plugin.Launcher, sources []*config.Source, dir string) error {
	type replayed struct {
		Source  string `json:"source"`
		Stream  string `json:"stream"`
		Slices  int    `json:"slices"`
		Records int64  `json:"records"`
	}
	report := []replayed{}
	for _, src := range sources {
		each := func(stream string, slices int, records int64) {
			report = append(report, replayed{src.Name, stream, slices, records})
		}
		if err := a.replaySource(ctx, launcher, src, dir, each); err != nil {
			return fmt.Errorf("%s: %w", src.Name, err)
		}
	}
	if a.json() {
		return a.printJSON(report)
	}
	for _, r := range report {
		a.printf("%s/%s: %s in %s replayed, nothing written\n", r.Source, r.Stream, count(r.Records, "record"), count(int64(r.Slices), "slice"))
	}
	return nil
}

func (a *app) replaySource(ctx context.Context, launcher *plugin.Launcher, src *config.Source, dir string, each func(stream string, slices int, records int64)) error {
	path, err := cassettePath(dir, src.Name)
	if err != nil {
		return err
	}
	pulls, err := cassette.Pulls(path)
	if err != nil {
		return err
	}
	session, err := a.openSource(cassette.WithFiles(ctx, cassette.Files{Replay: path}), launcher, src)
	if err != nil {
		return err
	}
	defer a.closing("connector", session.Close)
	streams, err := session.Source.Streams(ctx)
	if err != nil {
		return err
	}
	slices := map[string]int{}
	records := map[string]int64{}
	var order []string
	for _, req := range pulls {
		stream, err := find(streams, req.Stream)
		if err != nil {
			return err
		}
		decoder, err := record.NewDecoder(stream)
		if err != nil {
			return err
		}
		out := &decoded{decoder: decoder}
		if err := session.Source.Pull(ctx, req, out); err != nil {
			return fmt.Errorf("%s: %w", req.Stream, err)
		}
		if slices[req.Stream] == 0 {
			order = append(order, req.Stream)
		}
		slices[req.Stream]++
		records[req.Stream] += out.n
	}
	for _, name := range order {
		each(name, slices[name], records[name])
	}
	return nil
}

// decoded is an emitter that reads each record as it would land and keeps none.
type decoded struct {
	decoder *record.Decoder
	row     record.Row
	n       int64
}

func (d *decoded) Record(raw []byte) error {
	if err := d.decoder.Decode(raw, &d.row); err != nil {
		return fmt.Errorf("record %d: %w", d.n+1, err)
	}
	d.n++
	return nil
}

func (d *decoded) Checkpoint(connector.Cursor) error { return nil }
