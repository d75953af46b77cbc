package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/winchdata/winch/pkg/connector/connectortest"
)

func (a *app) connectorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "connector",
		Short:   "for authors of connectors",
		Example: "  winch connector test ./winch-connector-fuuffy --settings settings.yaml",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("see winch connector --help", "unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(a.connectorTestCommand())
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

func (a *app) connectorTestCommand() *cobra.Command {
	var (
		candidate connectortest.Candidate
		settings  string
		asOf      string
		since     string
	)
	cmd := &cobra.Command{
		Use:   "test PATH",
		Short: "examine an executable: the contract, token flows, hostile vendors",
		Long: `Examines the connector at PATH, an executable named winch-connector-NAME in any
language, against every rule of the contract: checkpoints and resumption, token
renewal, limits, cancellation, broken answers, secrets. Each check passes, fails
with what was seen and what that means, or does not apply, with the reason.

It needs a vendor that behaves, such as winch sandbox or a server of your own: the
settings token_url and base_url say where. The exam stands between the two and
misbehaves in the vendor's place. Never examine against a real account.

The file of settings is YAML or JSON and holds what stands under "config:" of a
source, with values instead of references. Leave rate limits out, and ask for small
pages: a stream that takes three of them is examined best.`,
		Example: `  winch connector test ./winch-connector-fuuffy --settings settings.yaml
  winch connector test ./winch-connector-fuuffy --settings settings.yaml --check P5,T1 --output json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			candidate.Path = args[0]
			if candidate.Settings, err = readSettings(settings); err != nil {
				return err
			}
			if candidate.AsOf, err = moment("--as-of", asOf); err != nil {
				return err
			}
			if candidate.Since, err = moment("--since", since); err != nil {
				return err
			}
			report, err := connectortest.Examine(cmd.Context(), candidate)
			if err != nil {
				return err
			}
			if a.json() {
				err = a.printJSON(report)
			} else {
				_, err = report.WriteTo(a.stdout)
			}
			if err == nil && !report.Passed {
				err = &toldError{exitStreams}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&settings, "settings", "", "`FILE` with the source's settings, YAML or JSON")
	flags.StringSliceVar(&candidate.Streams, "stream", nil, "examine these `STREAMS` alone (default all)")
	flags.StringSliceVar(&candidate.Checks, "check", nil, "make these `CHECKS` alone, such as P5,T1 (default all)")
	flags.StringVar(&asOf, "as-of", "", "the `MOMENT` at which the vendor's data ends (default now)")
	flags.StringVar(&since, "since", "", "the earliest `MOMENT` that cursor streams are asked for (default everything)")
	flags.StringVar(&candidate.LifetimeField, "lifetime-field", "", "`NAME` under which the token answer says its lifetime (default expires_in)")
	return cmd
}

// readSettings reads a source's settings. Its errors do not show them.
func readSettings(path string) (map[string]any, error) {
	if path == "" {
		return nil, usagef("a file with what stands under config: of a source", "--settings is missing")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("a file that can be read", "--settings: %w", err)
	}
	var v any
	if yaml.Unmarshal(text, &v) == nil {
		if settings, ok := v.(map[string]any); ok {
			return settings, nil
		}
	}
	return nil, usagef("lines such as base_url: http://127.0.0.1:8700/fuuffy", "--settings: %w", errors.New(path+" holds no YAML or JSON object"))
}

// moment reads a date or a moment; zero where there is none.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usagef(fmt.Sprintf("%s 2026-03-01 or %s 2026-03-01T12:00:00Z", flag, flag), "%s %q is no moment", flag, text)
}
