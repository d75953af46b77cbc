package main

import (
	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/scheduler/riverqueue"
	"github.com/winchdata/winch/internal/sink/postgres"
)

func (a *app) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "bring the agent's own tables to this version",
		Long: `Brings the agent's own tables in the sink to the version of this program. Every
command that needs them does the same, so that this one is for those who keep
the right to create tables apart from the right to write rows.`,
		Example: "  winch migrate -c winch.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadSink()
			if err != nil {
				return err
			}
			store, applied, err := a.openSink(cmd.Context(), cfg.Sink)
			if err != nil {
				return err
			}
			defer a.closing("store", store.Close)
			if shared, ok := store.(*postgres.Sink); ok {
				if err := riverqueue.Migrate(cmd.Context(), shared); err != nil {
					return err
				}
			}
			if a.json() {
				return a.printJSON(struct {
					Sink    string  `json:"sink"`
					Applied []int64 `json:"applied"`
				}{store.Location(), append([]int64{}, applied...)})
			}
			if len(applied) == 0 {
				a.printf("%s is up to date\n", store.Location())
			}
			for _, v := range applied {
				a.printf("%s: applied migration %d\n", store.Location(), v)
			}
			return nil
		},
	}
}
