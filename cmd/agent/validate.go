package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/plugin"
)

// validateReport is the verdict on the configuration as JSON. Scripts rely on it.
type validateReport struct {
	Path     string          `json:"path"`
	Valid    bool            `json:"valid"`
	Sources  int             `json:"sources"`
	Problems config.Problems `json:"problems"`
}

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "check the configuration, offline",
		Long: `Checks the configuration without any network: every key and value, each source's
settings against its connector, each stream's name. It shows all problems at once,
each with key, line, value and what would be right.`,
		Example: "  winch validate\n  winch validate -c winch.yaml --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := validateReport{Path: a.configPath, Problems: config.Problems{}}
			add := func(found config.Problems) {
				for _, p := range found {
					if !slices.Contains(report.Problems, p) { // two ways can lead to one
						report.Problems = append(report.Problems, p)
					}
				}
			}
			cfg, err := a.loadConfig()
			add(problemsOf(err))
			if err == nil {
				report.Path, report.Sources = cfg.Path, len(cfg.Sources)
				add(cfg.Absent())
				launcher := a.launcher(cfg)
				for _, src := range cfg.Sources {
					add(problemsOf(a.validateSource(cmd.Context(), launcher, src)))
				}
			}
			report.Valid = len(report.Problems) == 0
			switch {
			case a.json():
				if err := a.printJSON(report); err != nil {
					return err
				}
				if !report.Valid {
					return &toldError{exitUsage}
				}
			case !report.Valid:
				return report.Problems
			default:
				a.printf("%s is valid: %s\n", report.Path, count(int64(report.Sources), "source"))
			}
			return nil
		},
	}
}

// validateSource lets the source's connector look at its settings, which it does
// without the network, and checks the chosen streams against those it offers.
func (a *app) validateSource(ctx context.Context, launcher *plugin.Launcher, src *config.Source) error {
	session, err := a.openSource(ctx, launcher, src)
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		return problems
	case err != nil:
		return fmt.Errorf("source %s: %w", src.Name, err)
	}
	defer a.closing("connector", session.Close)
	offered, err := session.Source.Streams(ctx)
	if err != nil {
		return fmt.Errorf("source %s: %w", src.Name, err)
	}
	_, err = src.Select(offered)
	return err
}

// problemsOf returns the problems among the joined errors, and every other error
// as a problem without a place.
func problemsOf(err error) config.Problems {
	if err == nil {
		return nil
	}
	var problems config.Problems
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			problems = append(problems, problemsOf(one)...)
		}
		return problems
	}
	if errors.As(err, &problems) {
		return problems
	}
	return config.Problems{{Message: err.Error(), Fix: hintOf(err)}}
}
