// Package kaisa pulls call tracking data from Kaisa, formerly Freespee.
//
// The files are in the order in which a pull meets them, as in every connector:
// config.go has the settings, client.go the vendor's API (tokens, errors,
// envelopes, pages), streams.go what can be read, pull.go how. Every vendor fact
// that the code relies on stands in README.md with its source; what is inferred
// or unknown there is a setting here.
package kaisa

import (
	"context"
	_ "embed"
	"log/slog"

	"github.com/winchdata/winch/pkg/connector"
)

//go:embed config.schema.json
var configSchema []byte

// Definition describes the connector.
func Definition() connector.Definition {
	return connector.Definition{
		Name:         "kaisa",
		Title:        "Kaisa",
		DocsURL:      articles + "201050852-Introduction-to-the-Kaisa-API",
		ConfigSchema: configSchema,
		Streams:      declarations(streams(defaults())),
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
	return &source{cfg: cfg, api: api, streams: streams(cfg), log: slog.Default()}, nil
}

// A source is one account. Nothing in it changes after open, apart from the
// token that the client holds.
type source struct {
	cfg     config
	api     *client
	streams []stream
	log     *slog.Logger
}

var (
	_ connector.Source  = (*source)(nil)
	_ connector.Checker = (*source)(nil)
	_ connector.Tokener = (*source)(nil)
	_ connector.Limiter = (*source)(nil)
)

// Streams lists the streams that the settings make.
func (s *source) Streams(context.Context) ([]connector.Stream, error) {
	return declarations(s.streams), nil
}

// Check asks for the resource that the vendor wants used for probes.
func (s *source) Check(ctx context.Context) ([]connector.Finding, error) {
	return s.api.ping(ctx, s.cfg.path("ping", "miscellaneous/ping"))
}

// Limits are those of the settings.
func (s *source) Limits(context.Context) (connector.Limits, error) {
	return s.api.rest.Limits(), nil
}

// Token returns the bearer token that requests are signed with, here and in
// calls that a person makes, to DNCS for one. Digest accounts have none.
func (s *source) Token(ctx context.Context, _ string) (connector.Token, error) {
	return s.api.token(ctx)
}

func declarations(all []stream) []connector.Stream {
	declared := make([]connector.Stream, len(all))
	for i, st := range all {
		declared[i] = st.Stream
	}
	return declared
}
