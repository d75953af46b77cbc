package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/telemetry"
	"github.com/winchdata/winch/pkg/connector"
)

// The exit codes, which scripts can rely on.
const (
	exitOK          = 0
	exitStreams     = 1   // a stream failed, the others are landed
	exitUsage       = 2   // the command line or the configuration is wrong
	exitEnvironment = 3   // the database cannot be reached, a plugin is missing
	exitInterrupted = 130 // interrupted, state safe
)

// app is one invocation: its streams and the flags that all commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// terminal says that stderr is a terminal: progress may be drawn.
	terminal bool

	configPath string
	output     string
	logFlags   map[string]any // log.level and log.format, where given as flags
	logs       telemetry.Logs
	log        *slog.Logger // of the commands themselves
	logOutput  *redirected
	observed   observed
}

// run runs one command line and returns the exit code. stop restores the default
// effect of signals: once the first has cancelled ctx, a second ends the process.
func run(ctx context.Context, stop func(), args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, terminal: isTerminal(stderr)}
	a.logOutput = &redirected{w: stderr}
	context.AfterFunc(ctx, stop)
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	a.endObserved(ctx, err)
	if err != nil {
		a.printError(err)
	}
	return exitCode(ctx, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "winch",
		Short: "pull data from vendors' APIs into Postgres, and know what you hold",
		Long: `Winch authenticates to vendors' APIs, pulls their streams into Postgres (or an
embedded store), typed and exactly once, and keeps a ledger of what it holds.

Begin with

  winch demo                  everything at once, without credentials
  winch init kaisa            a commented winch.yaml to fill in
  winch check                 do the credentials work, which streams can be read?
  winch pull                  read what is due now

Exit codes: 0 all well; 1 a stream failed, the others are landed; 2 usage or
configuration; 3 environment, such as an unreachable database; 130 interrupted,
state safe.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.setup(cmd) },
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.configPath, "config", "c", "", "configuration `FILE` (default ./winch.yaml, then $XDG_CONFIG_HOME/winch/winch.yaml)")
	flags.StringVarP(&a.output, "output", "o", "text", "`FORMAT` of the result on stdout: text for people or json for scripts")
	flags.String("log-level", "warn", "least `LEVEL` of the log on stderr: debug, info, warn or error")
	flags.String("log-format", "text", "`FORMAT` of the log: text or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err, fmt.Sprintf("see %s --help", cmd.CommandPath())}
	})
	root.AddCommand(
		a.demoCommand(),
		a.initCommand(),
		a.validateCommand(),
		a.checkCommand(),
		a.tokenCommand(),
		a.connectorsCommand(),
		a.connectorCommand(),
		a.previewCommand(),
		a.planCommand(),
		a.backfillCommand(),
		a.pullCommand(),
		a.runsCommand(),
		a.agentsCommand(),
		a.alertsCommand(),
		a.quarantineCommand(),
		a.coverageCommand(),
		a.restatementCommand(),
		a.scheduleCommand(),
		a.serveCommand(),
		a.sandboxCommand(),
		a.resetCommand(),
		a.copyCommand(),
		a.pruneCommand(),
		a.migrateCommand(),
		a.versionCommand(),
	)
	for _, cmd := range root.Commands() {
		cmd.Args = usageArgs(cmd.Args)
	}
	return root
}

// usageArgs makes a complaint about arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			check = cobra.NoArgs
		}
		if err := check(cmd, args); err != nil {
			return &usageError{err, fmt.Sprintf("usage: %s; see %s --help", cmd.UseLine(), cmd.CommandPath())}
		}
		return nil
	}
}

// setup checks the shared flags and makes the logger.
func (a *app) setup(cmd *cobra.Command) error {
	if !slices.Contains([]string{"text", "json"}, a.output) {
		return usagef("--output text or --output json", "--output %q", a.output)
	}
	flags := cmd.Flags()
	text, _ := flags.GetString("log-level")
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return usagef("debug, info, warn or error", "--log-level %q", text)
	}
	format, _ := flags.GetString("log-format")
	if !slices.Contains([]string{"text", "json"}, format) {
		return usagef("--log-format text or --log-format json", "--log-format %q", format)
	}
	a.logFlags = map[string]any{}
	for flag, key := range map[string]string{"log-level": "log.level", "log-format": "log.format"} {
		if flags.Changed(flag) {
			a.logFlags[key] = flags.Lookup(flag).Value.String()
		}
	}
	a.setLog(config.Log{Level: level, Format: format})
	a.observed.cmd = cmd
	return nil
}

// setLog makes the loggers, which a loaded configuration may make anew.
func (a *app) setLog(l config.Log) {
	a.logs = telemetry.Logs{Level: l.Level, Levels: l.Levels, JSON: l.Format == "json", Output: a.logOutput}
	a.log = a.logFor("agent")
}

// closing closes something at a command's end, when its result is out already.
func (a *app) closing(what string, shut func() error) {
	if err := shut(); err != nil {
		a.log.Warn(what+" did not close well", "error", err)
	}
}

// json reports whether the result is for a script.
func (a *app) json() bool { return a.output == "json" }

// printJSON prints the command's result for a script.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printJSONLine prints one of the objects of a command that goes on.
func (a *app) printJSONLine(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printf prints a part of the command's result for a person.
func (a *app) printf(format string, args ...any) {
	fmt.Fprintf(a.stdout, format, args...)
}

// printError prints what went wrong and what to try, unless the command's result
// has told it already.
func (a *app) printError(err error) {
	var told *toldError
	if errors.As(err, &told) {
		return
	}
	fmt.Fprintf(a.stderr, "winch: %s\n", err)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(a.stderr, "  try: %s\n", hint)
	}
}

// A usageError says that the command line is wrong.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(hint, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), hint}
}

// A toldError ends a command whose result, already printed, says what failed.
type toldError struct{ code int }

func (e *toldError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// exitCode is the one place that maps errors to exit codes.
func exitCode(ctx context.Context, err error) int {
	var (
		told     *toldError
		usage    *usageError
		problems config.Problems
		store    *sink.Error
		busy     *sink.Busy
	)
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &told):
		return told.code
	case errors.As(err, &usage), errors.As(err, &problems):
		return exitUsage
	case errors.As(err, &store), errors.As(err, &busy):
		return exitEnvironment
	}
	switch connector.KindOf(err) {
	case connector.KindConfig:
		return exitUsage
	case connector.KindAuth, connector.KindForbidden, connector.KindRateLimited, connector.KindUnavailable, connector.KindBadResponse:
		return exitStreams
	case connector.KindUnknown:
		// Unknown commands come from cobra without a type.
		if strings.HasPrefix(err.Error(), "unknown command") {
			return exitUsage
		}
		return exitEnvironment
	}
	return exitEnvironment
}

func hintOf(err error) string {
	var (
		usage *usageError
		store *sink.Error
		busy  *sink.Busy
	)
	switch {
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &store):
		return store.Hint
	case errors.As(err, &busy):
		return "wait for it to end, or see winch runs"
	default:
		return connector.HintOf(err)
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
