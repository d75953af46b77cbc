package main

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/sink"
)

func (a *app) runsCancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel ID",
		Short: "end a run, wherever it is",
		Long: `Asks the agent that does the run to end it, on whatever machine it is. The run ends
as interrupted within seconds; what it has landed stays, and the next pull goes on
from there.`,
		Example: "  winch runs cancel 42",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usagef("winch runs lists the ids", "run id %q is no number", args[0])
			}
			_, store, closeStore, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			asked, err := store.CancelRun(cmd.Context(), id)
			if errors.Is(err, sink.ErrNoRun) {
				return usagef("winch runs lists the ids", "run %d: %w in %s", id, sink.ErrNoRun, store.Location())
			}
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"run": id, "asked": asked})
			}
			if asked {
				a.printf("run %d was asked to end\n", id)
			} else {
				a.printf("run %d has ended already\n", id)
			}
			return nil
		},
	}
}
