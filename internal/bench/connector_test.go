package bench

import (
	"context"
	"encoding/json"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// definition is a connector that reads the page server, made like any other.
func definition() connector.Definition {
	return connector.Definition{
		Name: "pages", Title: "Page server",
		ConfigSchema: json.RawMessage(`{"type":"object","properties":{"base_url":{"type":"string"},"profile":{"type":"string"}}}`),
		Open: func(_ context.Context, cfg connector.Config) (connector.Source, error) {
			var settings struct {
				BaseURL string `json:"base_url"`
				Profile string `json:"profile"` // as profile takes it: a connector gets no environment
			}
			if err := cfg.Decode(&settings); err != nil {
				return nil, err
			}
			client, err := rest.New(rest.Options{BaseURL: settings.BaseURL})
			if err != nil {
				return nil, err
			}
			profiled, err := profile(settings.Profile, "connector")
			return &pages{client, profiled}, err
		},
	}
}

type pages struct {
	client   *rest.Client
	profiled func()
}

// Close ends what Open began.
func (p *pages) Close() error {
	p.profiled()
	return nil
}

func stream() connector.Stream {
	return connector.Stream{
		Name: "records", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "created_at", Slice: connector.Days(1),
		Columns: []connector.Column{
			{Name: "id", Type: connector.TypeBigint},
			{Name: "uuid", Type: connector.TypeText},
			{Name: "status", Type: connector.TypeText},
			{Name: "channel", Type: connector.TypeText},
			{Name: "customer", Type: connector.TypeText},
			{Name: "created_at", Type: connector.TypeTimestamp},
			{Name: "updated_at", Type: connector.TypeTimestamp},
			{Name: "amount", Type: connector.TypeNumeric},
			{Name: "quantity", Type: connector.TypeBigint},
			{Name: "active", Type: connector.TypeBoolean},
			{Name: "address", Type: connector.TypeJSON},
			{Name: "tags", Type: connector.TypeJSON},
		},
	}
}

func (p *pages) Streams(context.Context) ([]connector.Stream, error) {
	return []connector.Stream{stream()}, nil
}

func (p *pages) Pull(ctx context.Context, _ connector.Request, out connector.Emitter) error {
	list := rest.PageNumber{
		Param: "page", Size: pageSize,
		Records: func(r *rest.Response) ([][]byte, error) { return rest.Records(r.Body, "records") },
	}
	for page, err := range p.client.Pages(ctx, rest.Request{Path: "/records"}, list) {
		if err != nil {
			return err
		}
		for _, raw := range page.Records {
			if err := out.Record(raw); err != nil {
				return err
			}
		}
		page.Response.Release()
	}
	return nil
}
