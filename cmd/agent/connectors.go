package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/manual"
)

// connectorReport is a connector as JSON. Scripts rely on it.
type connectorReport struct {
	Name         string             `json:"name"`
	Title        string             `json:"title"`
	DocsURL      string             `json:"docs_url,omitempty"`
	ConfigSchema json.RawMessage    `json:"config_schema"`
	Streams      []connector.Stream `json:"streams"`
}

func (a *app) connectorsCommand() *cobra.Command {
	var discover string
	cmd := &cobra.Command{
		Use:   "connectors [NAME]",
		Short: "list connectors, or show one: settings, streams, columns, keys, modes",
		Long: `Lists the connectors, or shows one. With --discover it asks the vendor, through a
configured source, what there is to read, and prints settings for it, for vendors
that describe themselves.`,
		Example: "  winch connectors\n  winch connectors kaisa\n  winch connectors kaisa --output json | jq '.streams[].name'\n  winch connectors fospha --discover fospha_uk >> streams.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if discover != "" {
				return a.discover(cmd.Context(), args, discover)
			}
			if len(args) == 0 {
				return a.listConnectors()
			}
			def, ok := bundledConnector(args[0])
			if !ok {
				return usagef("one of "+strings.Join(bundledNames(), ", "), "no connector is called %q", args[0])
			}
			if a.json() {
				return a.printJSON(newConnectorReport(def))
			}
			return a.printConnector(def)
		},
	}
	cmd.Flags().StringVar(&discover, "discover", "", "ask the vendor of `SOURCE` and print settings for what there is to read")
	return cmd
}

// discover prints what the source's connector writes about its vendor.
func (a *app) discover(ctx context.Context, args []string, name string) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	src, err := cfg.Source(name)
	if err != nil {
		return err
	}
	if len(args) == 1 && args[0] != src.Connector {
		return usagef("winch connectors "+src.Connector+" --discover "+name, "source %s is one of %s, not of %s", name, src.Connector, args[0])
	}
	session, err := a.openSource(ctx, a.launcher(cfg), src)
	if err != nil {
		return err
	}
	defer a.closing("connector", session.Close)
	d, ok := session.Source.(connector.Discoverer)
	if !ok {
		return usagef("its streams are fixed: winch connectors "+src.Connector, "the vendor of %s does not describe itself", name)
	}
	settings, err := d.Discover(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return usagef("its streams are fixed: winch connectors "+src.Connector, "the vendor of %s does not describe itself", name)
	case err != nil:
		return fmt.Errorf("source %s: %w", name, err)
	case a.json():
		return a.printJSON(struct {
			Settings string `json:"settings"`
		}{string(settings)})
	}
	a.printf("%s", settings)
	return nil
}

func newConnectorReport(def connector.Definition) connectorReport {
	return connectorReport{def.Name, def.Title, def.DocsURL, def.ConfigSchema, def.Streams}
}

func (a *app) listConnectors() error {
	if a.json() {
		reports := []connectorReport{}
		for _, def := range bundled() {
			reports = append(reports, newConnectorReport(def))
		}
		return a.printJSON(struct {
			Connectors []connectorReport `json:"connectors"`
		}{reports})
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "connector\tvendor\tstreams\tdocumentation of the vendor")
	for _, def := range bundled() {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\n", def.Name, def.Title, len(def.Streams), def.DocsURL)
	}
	return tw.Flush()
}

func (a *app) printConnector(def connector.Definition) error {
	a.printf("%s: %s\n%s\n\nsettings (under config:)\n", def.Name, def.Title, def.DocsURL)
	settings, err := manual.Settings(def.ConfigSchema)
	if err != nil {
		return fmt.Errorf("connector %s: %w", def.Name, err)
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		about := s.Description
		switch {
		case s.Required:
			about = "required; " + about
		case s.Default != "":
			about += " Default: " + s.Default
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", s.Name, s.Kind, about)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, s := range def.Streams {
		a.printf("\nstream %s (%s, key %s)", s.Name, s.Mode, strings.Join(s.PrimaryKey, "+"))
		if s.Mode == connector.ModeWindow {
			a.printf(", slice %s, lookback %s, lag %s", s.Slice, s.Lookback, s.Lag)
		}
		if s.Optional {
			a.printf(", only when named")
		}
		a.printf("\n  %s\n", s.Description)
		for _, c := range s.Columns {
			marks := ""
			if c.Personal {
				marks += " (personal)"
			}
			if c.Secret {
				marks += " (secret: never stored)"
			}
			fmt.Fprintf(tw, "  %s\t%s\t%s%s\n", c.Name, c.Type, c.Description, marks)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}
