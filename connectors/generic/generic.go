// Package generic pulls from any REST API with OAuth 2 client credentials that a
// manifest describes: a YAML file, a part of the settings, or a bundled preset.
//
// The files are in the order in which a pull meets them, as in every connector:
// config.go has the settings; manifest.go the notation, decode.go, compile.go and
// streams.go what reads and checks it; client.go the vendor's API (tokens, errors,
// limits, and the guard that sends nothing but reads); pull.go, children.go,
// split.go and shape.go how records are read. README.md explains the notation and
// has the facts of the presets with their sources.
package generic

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"sync"

	"github.com/winchdata/winch/configs"
	"github.com/winchdata/winch/pkg/connector"
)

//go:embed config.schema.json
var configSchema []byte

// shown is the preset whose streams stand for the connector's where there is no
// configuration yet.
const shown = "fuuffy"

var shownPreset = sync.OnceValue(func() *api {
	text, _ := configs.Preset(shown)
	preset, err := parseManifest(text)
	if err != nil {
		panic(fmt.Sprintf("preset %s: %v", shown, err)) // it is part of the program
	}
	return preset
})

// Definition describes the connector.
func Definition() connector.Definition {
	preset := shownPreset()
	return connector.Definition{
		Name:         "generic",
		Title:        "REST API by manifest (preset Fuuffy)",
		DocsURL:      preset.DocsURL,
		ConfigSchema: configSchema,
		Streams:      preset.declarations(config{PersonalData: personalKeep}),
		Open:         open,
	}
}

func open(_ context.Context, settings connector.Config) (connector.Source, error) {
	cfg, manifest, err := parse(settings)
	if err != nil {
		return nil, err
	}
	client, err := newClient(cfg, manifest)
	if err != nil {
		return nil, err
	}
	return &source{cfg: cfg, api: manifest, client: client, log: slog.Default()}, nil
}

// A source is one account. Nothing in it changes after open, apart from the
// token that the client holds and what it knows of the rate limit.
type source struct {
	cfg    config
	api    *api
	client *client
	log    *slog.Logger
}

var (
	_ connector.Source  = (*source)(nil)
	_ connector.Checker = (*source)(nil)
	_ connector.Tokener = (*source)(nil)
	_ connector.Limiter = (*source)(nil)
)

// Streams lists the streams of the manifest.
func (s *source) Streams(context.Context) ([]connector.Stream, error) {
	return s.api.declarations(s.cfg), nil
}

// Check makes the request that the manifest has for it.
func (s *source) Check(ctx context.Context) ([]connector.Finding, error) {
	found := []connector.Finding{{
		Name:   "manifest",
		Detail: fmt.Sprintf("%s, %d streams at %s", s.api.Name, len(s.api.streams), s.client.base),
	}}
	if s.api.manifest.Check.Path == "" {
		return found, nil
	}
	query, err := fillAll(s.api.checkParams, s.cfg.scope())
	if err != nil {
		return found, err
	}
	answer, err := s.client.rest.Get(ctx, s.api.manifest.Check.Path, query)
	if err != nil {
		return found, err
	}
	return append(found, connector.Finding{
		Name: "request", Detail: fmt.Sprintf("GET %s: %d", s.api.manifest.Check.Path, answer.Status),
	}), nil
}

// Limits are those of the settings.
func (s *source) Limits(context.Context) (connector.Limits, error) {
	return s.client.rest.Limits(), nil
}

// Token returns the bearer token that requests are signed with.
func (s *source) Token(ctx context.Context, _ string) (connector.Token, error) {
	token, err := s.client.tokens.Token(ctx)
	token.BaseURL = s.client.base
	return token, err
}
