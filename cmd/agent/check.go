package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/pkg/connector"
)

// checkReport is the check of one source as JSON. Scripts rely on it.
type checkReport struct {
	Name      string        `json:"name"`
	Connector string        `json:"connector"`
	OK        bool          `json:"ok"`
	Token     *grantReport  `json:"token"`
	Findings  []finding     `json:"findings"`
	Streams   []probeReport `json:"streams"`
	Error     *string       `json:"error"`
	Hint      *string       `json:"hint"`
	err       error
}

type grantReport struct {
	Type            string    `json:"type"`
	ExpiresAt       time.Time `json:"expires_at"`
	LifetimeSeconds float64   `json:"lifetime_seconds"`
	BaseURL         string    `json:"base_url"`
	Scope           string    `json:"scope,omitempty"`
}

type finding struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

// probeReport says whether a stream can be read: readable, forbidden or failing.
type probeReport struct {
	Name    string  `json:"name"`
	Status  string  `json:"status"`
	Records int     `json:"records"`
	Error   *string `json:"error"`
	Hint    *string `json:"hint"`
}

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [SOURCE...]",
		Short: "prove credentials and reach, online",
		Long: `Exchanges the credentials of the named sources, or of all, for a token; shows its
lifetime and the base URL it leads to; then probes every stream for a first record:
readable, forbidden or failing. It writes nothing, here or at the vendor.`,
		Example: "  winch check\n  winch check kaisa_se --output json",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			sources, err := cfg.Pick(args...)
			if err != nil {
				return err
			}
			launcher := a.launcher(cfg)
			reports := make([]checkReport, 0, len(sources))
			code := exitOK
			for _, src := range sources {
				report := a.checkSource(cmd.Context(), launcher, src)
				if !a.json() {
					a.printCheck(report)
				}
				switch {
				case report.OK:
				case report.err != nil:
					code = worse(code, exitCode(cmd.Context(), report.err))
				default:
					code = worse(code, exitStreams)
				}
				reports = append(reports, report)
			}
			if a.json() {
				err := a.printJSON(struct {
					Sources []checkReport `json:"sources"`
				}{reports})
				if err != nil {
					return err
				}
			}
			if code != exitOK {
				return &toldError{code}
			}
			return nil
		},
	}
}

func (a *app) checkSource(ctx context.Context, launcher *plugin.Launcher, src *config.Source) checkReport {
	report := checkReport{Name: src.Name, Connector: src.Connector, Findings: []finding{}, Streams: []probeReport{}}
	report.err = a.probe(ctx, launcher, src, &report)
	report.Error, report.Hint = explain(report.err)
	report.OK = report.err == nil
	for _, s := range report.Streams {
		report.OK = report.OK && s.Status == "readable"
	}
	return report
}

func (a *app) probe(ctx context.Context, launcher *plugin.Launcher, src *config.Source, report *checkReport) error {
	session, err := a.openSource(ctx, launcher, src)
	if err != nil {
		return err
	}
	defer a.closing("connector", session.Close)
	if t, ok := session.Source.(connector.Tokener); ok {
		token, err := t.Token(ctx, "")
		switch {
		case errors.Is(err, errors.ErrUnsupported):
		case err != nil:
			return err
		default:
			report.Token = &grantReport{
				Type: token.Type, ExpiresAt: token.ExpiresAt.UTC(), BaseURL: token.BaseURL, Scope: token.Scope,
				LifetimeSeconds: time.Until(token.ExpiresAt).Round(time.Second).Seconds(),
			}
		}
	}
	if c, ok := session.Source.(connector.Checker); ok {
		found, err := c.Check(ctx)
		for _, f := range found {
			report.Findings = append(report.Findings, finding{f.Name, f.Detail})
		}
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	offered, err := session.Source.Streams(ctx)
	if err != nil {
		return err
	}
	all, err := wants(src, offered)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, want := range all {
		partitions, err := pull.Partitions(ctx, session.Source, want.Stream.Name)
		if err != nil {
			return err
		}
		req := connector.Request{Stream: want.Stream.Name, Window: newestWindow(want, now), Since: want.Since, AsOf: now}
		if len(partitions) > 0 {
			req.Partition = partitions[0]
		}
		records, err := pull.Sample(ctx, session.Source, req, 1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		one := probeReport{Name: want.Stream.Name, Status: "readable", Records: len(records)}
		if err != nil {
			one.Status = "failing"
			if connector.KindOf(err) == connector.KindForbidden {
				one.Status = "forbidden"
			}
		}
		one.Error, one.Hint = explain(err)
		report.Streams = append(report.Streams, one)
		if kind := connector.KindOf(err); kind == connector.KindAuth || kind == connector.KindConfig && len(report.Streams) == 1 {
			return err
		}
	}
	return nil
}

func (a *app) printCheck(r checkReport) {
	status := "ok"
	if !r.OK {
		status = "FAILED"
	}
	a.printf("%s (%s): %s\n", r.Name, r.Connector, status)
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if r.Token != nil {
		fmt.Fprintf(tw, "  token\t%s, good for %s, sent to %s\n", r.Token.Type,
			time.Duration(r.Token.LifetimeSeconds)*time.Second, r.Token.BaseURL)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(tw, "  %s\t%s\n", f.Name, f.Detail)
	}
	if err := tw.Flush(); err != nil { // streams have columns of their own
		a.log.Warn("result not printed", "error", err)
	}
	for _, s := range r.Streams {
		fmt.Fprintf(tw, "  %s\t%s\t", s.Name, s.Status)
		switch {
		case s.Error != nil:
			fmt.Fprintf(tw, "%s\n", *s.Error)
			if s.Hint != nil {
				fmt.Fprintf(tw, "  \t\ttry: %s\n", *s.Hint)
			}
		case s.Records == 0:
			fmt.Fprintln(tw, "no record at the moment")
		default:
			fmt.Fprintln(tw, "a record was read")
		}
	}
	if err := tw.Flush(); err != nil {
		a.log.Warn("result not printed", "error", err)
	}
	if r.Error != nil {
		hint := ""
		if r.Hint != nil {
			hint = *r.Hint
		}
		a.printFailed(*r.Error, hint)
	}
}
