package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/pkg/connector"
)

func (a *app) initCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init [CONNECTOR...]",
		Short: "write a commented winch.yaml to begin with",
		Long: `Writes a winch.yaml with a source for each named connector, or for every bundled
one: what is required to fill in, everything else commented out with its default.
Secrets are references to environment variables.`,
		Example: "  winch init kaisa\n  winch init -c /etc/winch/winch.yaml kaisa",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			names := args
			if len(names) == 0 {
				names = bundledNames()
			}
			var defs []connector.Definition
			for _, name := range names {
				def, ok := bundledConnector(name)
				if !ok {
					return usagef("one of "+strings.Join(bundledNames(), ", "), "no connector is called %q", name)
				}
				defs = append(defs, def)
			}
			text, err := config.Starter(defs, names...)
			if err != nil {
				return err
			}
			path := a.configPath
			if path == "" {
				path = "winch.yaml"
			}
			if err := writeNew(path, text, force); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(struct {
					Path string `json:"path"`
				}{path})
			}
			a.printf("wrote %s\nnext: fill it in, then winch validate, winch check, winch pull\n", path)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	return cmd
}

// writeNew writes a configuration file, which only its owner may read, since
// people put secrets into it whatever they are told. It replaces a file only when
// forced.
func writeNew(path string, text []byte, force bool) error {
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, mode, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usagef("another --config, or --force", "%s exists already", path)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
