// Package contentsquare pulls site, page and zone metrics and data exports from
// Contentsquare.
//
// The files are in the order in which a pull meets them, as in every connector:
// config.go has the settings, client.go the vendor's API (tokens, base URL,
// errors, envelopes), streams.go what can be read, pull.go how, with objects.go,
// metrics.go, exports.go and download.go for its parts. Every vendor fact that the
// code relies on stands in README.md with its source; what is inferred or unknown
// there is a setting here.
package contentsquare

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

//go:embed config.schema.json
var configSchema []byte

// Definition describes the connector.
func Definition() connector.Definition {
	return connector.Definition{
		Name:         "contentsquare",
		Title:        "Contentsquare",
		DocsURL:      docs + "metrics/",
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
	transport, err := rest.Through(cfg.ProxyURL)
	if err != nil {
		return nil, err
	}
	account, err := newAccount(cfg, transport)
	if err != nil {
		return nil, err
	}
	s := &source{
		cfg: cfg, account: account, streams: streams(cfg), log: slog.Default(),
		files: newDownloader(cfg, transport), transport: transport, projects: map[int64]*project{},
	}
	// A project's client needs no network: what is wrong with the settings shows
	// now.
	if _, err := s.project(1); err != nil {
		return nil, err
	}
	delete(s.projects, 1)
	return s, nil
}

// A source is one pair of credentials and the projects that it reads.
type source struct {
	cfg     config
	account *account
	files   *downloader
	// transport is shared by all of them.
	transport *http.Transport
	streams   []stream
	log       *slog.Logger

	mu       sync.Mutex
	projects map[int64]*project // made when first needed
}

var (
	_ connector.Source      = (*source)(nil)
	_ connector.Checker     = (*source)(nil)
	_ connector.Tokener     = (*source)(nil)
	_ connector.Partitioner = (*source)(nil)
	_ connector.Limiter     = (*source)(nil)
	_ io.Closer             = (*source)(nil)
)

// Streams lists the streams that the settings make.
func (s *source) Streams(context.Context) ([]connector.Stream, error) {
	return declarations(s.streams), nil
}

// Check asks the vendor which projects the credentials see.
func (s *source) Check(ctx context.Context) ([]connector.Finding, error) {
	seen, err := s.account.list(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range seen {
		names = append(names, strings.TrimSpace(fmt.Sprintf("%d %s", p.id, oneLine(p.name))))
	}
	findings := []connector.Finding{{Name: "projects seen", Detail: fmt.Sprintf("%d: %s", len(seen), strings.Join(names, ", "))}}
	chosen, err := s.selection(ctx)
	if err != nil {
		return findings, err
	}
	names = nil
	for _, id := range chosen {
		name := strconv.FormatInt(id, 10)
		if !slices.ContainsFunc(seen, func(p listedProject) bool { return p.id == id }) {
			name += " (not among those seen)"
		}
		names = append(names, name)
	}
	return append(findings, connector.Finding{Name: "projects read", Detail: fmt.Sprintf("%d: %s", len(chosen), strings.Join(names, ", "))}), nil
}

// Limits are those of the settings. They hold for each project by itself.
func (s *source) Limits(context.Context) (connector.Limits, error) {
	limits := connector.Limits{Concurrency: s.cfg.Concurrency, PerPartition: true}
	for _, w := range rate(s.cfg) {
		limits.Rates = append(limits.Rates, connector.Rate(w))
	}
	return limits, nil
}

// Token returns the token of a project; the partition is the project's id.
func (s *source) Token(ctx context.Context, partition string) (connector.Token, error) {
	if partition == "" {
		chosen, err := s.selection(ctx)
		if err != nil {
			return connector.Token{}, err
		}
		partition = strconv.FormatInt(chosen[0], 10)
	}
	p, err := s.partition(partition)
	if err != nil {
		return connector.Token{}, err
	}
	token, err := p.tokens.Token(ctx)
	if s.cfg.BaseURL != "" {
		token.BaseURL = s.cfg.BaseURL
	}
	return token, err
}

// Partitions returns the projects to read, by their ids.
func (s *source) Partitions(ctx context.Context, name string) ([]string, error) {
	st, err := s.stream(name)
	if err != nil {
		return nil, err
	}
	if st.pull == nil { // the list of the projects itself
		return nil, nil
	}
	if st.export.Project != 0 {
		return []string{strconv.FormatInt(int64(st.export.Project), 10)}, nil
	}
	chosen, err := s.selection(ctx)
	if err != nil {
		return nil, err
	}
	if st.export.Stream != "" && len(chosen) > 1 {
		return nil, &connector.Error{
			Kind: connector.KindConfig, Op: name,
			Err:  fmt.Errorf("the credentials read %d projects, and an export job belongs to one", len(chosen)),
			Hint: "name it under exports, as project",
		}
	}
	names := make([]string, len(chosen))
	for i, id := range chosen {
		names[i] = strconv.FormatInt(id, 10)
	}
	return names, nil
}

// Close lets go of the connections that downloads have left open.
func (s *source) Close() error {
	s.files.client.CloseIdleConnections()
	return nil
}

func (s *source) stream(name string) (stream, error) {
	i := slices.IndexFunc(s.streams, func(st stream) bool { return st.Name == name })
	if i < 0 {
		return stream{}, &connector.Error{Kind: connector.KindConfig, Err: fmt.Errorf("contentsquare has no stream %q with these settings", name)}
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
