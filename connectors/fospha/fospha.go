// Package fospha pulls attributed marketing performance from Fospha.
//
// Fospha documents its token endpoint; its data API is, by strong inference,
// GraphQL, whose URL, fields, arguments and paging are not published. So the
// token flow is native and everything behind it is a setting: queries, variables,
// paths, paging, keys and columns. Discover fills the settings from the schema.
//
// The files are in the order in which a pull meets them: config.go has the
// settings, client.go the requests and tokens, refusal.go what errors mean,
// streams.go what can be read, paging.go and pull.go how, schema.go and
// discover.go what the vendor says of itself. Every vendor fact stands in
// README.md with its source.
package fospha

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"slices"

	"github.com/winchdata/winch/pkg/connector"
)

//go:embed config.schema.json
var configSchema []byte

// Definition describes the connector. Its streams are the presets.
func Definition() connector.Definition {
	return connector.Definition{
		Name:         "fospha",
		Title:        "Fospha",
		DocsURL:      docs,
		ConfigSchema: configSchema,
		Streams:      declarations(presets()),
		Open:         open,
	}
}

func open(_ context.Context, settings connector.Config) (connector.Source, error) {
	cfg, err := parse(settings)
	if err != nil {
		return nil, err
	}
	api, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return &source{cfg: cfg, api: api, streams: cfg.streams, log: slog.Default()}, nil
}

// A source is one app client with the brands it may read. Nothing in it changes
// after open, apart from the token that the client holds.
type source struct {
	cfg     config
	api     *client
	streams []stream
	log     *slog.Logger
}

var (
	_ connector.Source      = (*source)(nil)
	_ connector.Checker     = (*source)(nil)
	_ connector.Tokener     = (*source)(nil)
	_ connector.Partitioner = (*source)(nil)
	_ connector.Limiter     = (*source)(nil)
	_ connector.Discoverer  = (*source)(nil)
)

// Streams lists the streams of the settings and, as optional ones, the presets.
func (s *source) Streams(context.Context) ([]connector.Stream, error) {
	return declarations(s.streams), nil
}

// Limits are those of the settings.
func (s *source) Limits(context.Context) (connector.Limits, error) {
	return s.api.rest.Limits(), nil
}

// Token returns the bearer token that requests are signed with. One token serves
// all brands and streams.
func (s *source) Token(ctx context.Context, _ string) (connector.Token, error) {
	return s.api.token(ctx)
}

// Partitions returns the brands, so that one which may not be read stops alone.
// A source without brands has no partitions.
func (s *source) Partitions(_ context.Context, name string) ([]string, error) {
	if _, err := s.stream(name); err != nil {
		return nil, err
	}
	return slices.Clone(s.cfg.ClientIDs), nil
}

func (s *source) stream(name string) (stream, error) {
	i := slices.IndexFunc(s.streams, func(st stream) bool { return st.Name == name })
	if i < 0 {
		return stream{}, &connector.Error{
			Kind: connector.KindConfig, Err: fmt.Errorf("fospha has no stream %q", name),
			Hint: "declare it under streams in the settings",
		}
	}
	return s.streams[i], nil
}

func declarations(all []stream) []connector.Stream {
	declared := make([]connector.Stream, len(all))
	for i, st := range all {
		declared[i] = st.Stream
	}
	return declared
}
