package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

func (a *app) previewCommand() *cobra.Command {
	var (
		n     int
		since string
		until string
	)
	cmd := &cobra.Command{
		Use:   "preview SOURCE STREAM",
		Short: "read some records and show them as they would land",
		Long: `Reads the first records of a stream and shows them by column, as they would land.
It writes nothing. Of a window stream it reads the newest whole window, or the one
that --since and --until give.`,
		Example: "  winch preview kaisa_se cdrs_in -n 3\n  winch preview kaisa_se cdrs_in --since 2026-03-01 --until 2026-03-02",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 1 {
				return usagef("-n 10", "-n %d: want at least 1", n)
			}
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			src, err := cfg.Source(args[0])
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			session, err := a.openSource(ctx, a.launcher(cfg), src)
			if err != nil {
				return err
			}
			defer a.closing("connector", session.Close)
			offered, err := session.Source.Streams(ctx)
			if err != nil {
				return err
			}
			stream, err := find(offered, args[1])
			if err != nil {
				return err
			}
			now := time.Now()
			req := connector.Request{Stream: stream.Name, AsOf: now, Since: src.Since}
			if req.Window, err = previewWindow(src, stream, since, until, now); err != nil {
				return err
			}
			partitions, err := pull.Partitions(ctx, session.Source, stream.Name)
			if err != nil {
				return err
			}
			if len(partitions) > 0 {
				req.Partition = partitions[0]
			}
			records, err := pull.Sample(ctx, session.Source, req, n)
			if err != nil {
				return fmt.Errorf("%s/%s: %w", src.Name, stream.Name, err)
			}
			return a.printPreview(stream, req, records)
		},
	}
	cmd.Flags().IntVarP(&n, "records", "n", 10, "how many `RECORDS` to read")
	cmd.Flags().StringVar(&since, "since", "", "begin of the window, a `DATE`")
	cmd.Flags().StringVar(&until, "until", "", "end of the window, a `DATE`, not included")
	return cmd
}

func find(offered []connector.Stream, name string) (connector.Stream, error) {
	i := slices.IndexFunc(offered, func(s connector.Stream) bool { return s.Name == name })
	if i < 0 {
		var names []string
		for _, s := range offered {
			names = append(names, s.Name)
		}
		return connector.Stream{}, usagef("one of "+strings.Join(names, ", "), "no stream is called %q", name)
	}
	return offered[i], nil
}

func previewWindow(src *config.Source, stream connector.Stream, since, until string, now time.Time) (connector.Window, error) {
	if stream.Mode != connector.ModeWindow {
		return connector.Window{}, nil
	}
	if since == "" && until == "" {
		return newestWindow(ledger.Want{Stream: stream, Slice: stream.Slice, Lag: stream.Lag, Location: src.Location}, now), nil
	}
	var w connector.Window
	for _, bound := range []struct {
		flag, text string
		to         *time.Time
	}{{"--since", since, &w.Since}, {"--until", until, &w.Until}} {
		t, err := time.ParseInLocation(time.DateOnly, bound.text, src.Location)
		if err != nil {
			return w, usagef("both bounds, like --since 2026-03-01 --until 2026-03-02", "%s %q is no date", bound.flag, bound.text)
		}
		*bound.to = t
	}
	if !w.Since.Before(w.Until) {
		return w, usagef("--since before --until", "the window %s is empty", w)
	}
	return w, nil
}

// printPreview prints records by column: what each would hold, and what is left
// for _extra. For scripts it prints the records as the vendor sent them.
func (a *app) printPreview(stream connector.Stream, req connector.Request, records [][]byte) error {
	if a.json() {
		raw := make([]json.RawMessage, 0, len(records))
		for _, r := range records {
			raw = append(raw, r)
		}
		since, until := bounds(req.Window)
		return a.printJSON(struct {
			Stream  string            `json:"stream"`
			Since   *time.Time        `json:"since"`
			Until   *time.Time        `json:"until"`
			Records []json.RawMessage `json:"records"`
		}{stream.Name, since, until, raw})
	}
	decoder, err := record.NewDecoder(stream)
	if err != nil {
		return err
	}
	where := stream.Name
	if !req.Window.IsZero() {
		where += " " + req.Window.String()
	}
	a.printf("%s: %s read, nothing written\n", where, count(int64(len(records)), "record"))
	var row record.Row
	for i, raw := range records {
		a.printf("\nrecord %d\n", i+1)
		if err := decoder.Decode(raw, &row); err != nil {
			return fmt.Errorf("%s: record %d: %w", where, i+1, err)
		}
		tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		for j, c := range decoder.Columns() {
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", c.Name, c.Type, valueText(c, row.Values[j]))
		}
		if row.Extra != nil {
			fmt.Fprintf(tw, "  %s\tjson\t%s\n", record.ColumnExtra, row.Extra)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func valueText(c connector.Column, v record.Value) string {
	if v.Null {
		return "-"
	}
	switch c.Type {
	case connector.TypeBigint:
		return fmt.Sprint(v.Int)
	case connector.TypeDouble:
		return fmt.Sprint(v.Float)
	case connector.TypeBoolean:
		return fmt.Sprint(v.Int == 1)
	case connector.TypeDate:
		return time.Unix(v.Int*24*60*60, 0).UTC().Format(time.DateOnly)
	case connector.TypeTimestamp:
		return time.UnixMicro(v.Int).UTC().Format(time.RFC3339Nano)
	case connector.TypeText, connector.TypeNumeric, connector.TypeJSON:
		return cut(string(v.Bytes), 100)
	}
	return string(v.Bytes)
}
