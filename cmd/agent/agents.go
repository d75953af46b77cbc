package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/sink"
)

// agentReport is an agent as JSON. Scripts rely on it.
type agentReport struct {
	ID        int64           `json:"id"`
	Host      string          `json:"host"`
	PID       int             `json:"pid"`
	Version   string          `json:"version"`
	State     string          `json:"state"` // alive, draining, dead
	StartedAt time.Time       `json:"started_at"`
	SeenAt    time.Time       `json:"seen_at"`
	Holds     []holdingReport `json:"holds"`
}

type holdingReport struct {
	Source string    `json:"source"`
	Since  time.Time `json:"since"`
	Run    *int64    `json:"run"`
}

func (a *app) agentsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "show which agents take part, and what they hold",
		Long: `Shows the agents that take part in the work on the store: where they run, of which
version they are, and which sources they hold. One that is dead is replaced by the
others within 30 seconds; what it held, they go on with.`,
		Example: `  winch agents
  winch agents drain 3            before its machine is updated
  winch agents --output json | jq '[.agents[].version] | unique'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, store, closeStore, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			agents, err := store.Agents(cmd.Context())
			if err != nil {
				return err
			}
			return a.printAgents(agents)
		},
	}
	cmd.AddCommand(a.agentsDrainCommand())
	return cmd
}

func (a *app) printAgents(agents []sink.Agent) error {
	reports := make([]agentReport, 0, len(agents))
	for _, one := range agents {
		r := agentReport{
			ID: one.ID, Host: one.Host, PID: one.PID, Version: one.Version, State: "alive",
			StartedAt: one.StartedAt, SeenAt: one.SeenAt, Holds: []holdingReport{},
		}
		switch {
		case !one.Alive:
			r.State = "dead"
		case one.Draining:
			r.State = "draining"
		}
		for _, h := range one.Holds {
			held := holdingReport{Source: h.Source, Since: h.Since}
			if h.Run != 0 {
				held.Run = &h.Run
			}
			r.Holds = append(r.Holds, held)
		}
		reports = append(reports, r)
	}
	if a.json() {
		return a.printJSON(map[string]any{"agents": reports})
	}
	if len(reports) == 0 {
		a.printf("no agent is at work\n")
		return nil
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "agent\tprocess\tversion\tstate\tup\tholds")
	for _, r := range reports {
		holds := make([]string, len(r.Holds))
		for i, h := range r.Holds {
			holds[i] = h.Source
			if h.Run != nil {
				holds[i] += fmt.Sprintf(" (run %d)", *h.Run)
			}
		}
		fmt.Fprintf(table, "%d\t%d on %s\t%s\t%s\t%s\t%s\n", r.ID, r.PID, r.Host, r.Version, r.State,
			r.SeenAt.Sub(r.StartedAt).Round(time.Second), strings.Join(holds, ", "))
	}
	return table.Flush()
}

func (a *app) agentsDrainCommand() *cobra.Command {
	var all, undo bool
	cmd := &cobra.Command{
		Use:   "drain ID | --all",
		Short: "let agents finish what they do, take no more, and end",
		Long: `Asks agents that serve to take no more jobs. They finish the slices that they read,
the others go on with the rest, and the process ends. Update one machine after the
other in that way: agents of neighbouring versions work side by side.

--undo takes the request back, as long as the process has not ended: when what it
was reading has ended, it takes jobs again.`,
		Example: `  winch agents drain 3
  winch agents drain --all`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := int64(0)
			if all == (len(args) == 1) {
				return usagef("winch agents drain ID, or --all", "want the id of one agent, or --all")
			}
			if !all {
				var err error
				if id, err = strconv.ParseInt(args[0], 10, 64); err != nil || id < 1 {
					return usagef("winch agents lists the ids", "agent id %q is no number", args[0])
				}
			}
			_, store, closeStore, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			n, err := store.Drain(cmd.Context(), id, !undo)
			if err != nil {
				return err
			}
			if n == 0 && !all {
				return usagef("winch agents lists the ids", "no agent %d is alive in %s", id, store.Location())
			}
			if a.json() {
				return a.printJSON(map[string]any{"agents": n, "draining": !undo})
			}
			a.printf("asked %s\n", count(int64(n), "agent"))
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all agents")
	cmd.Flags().BoolVar(&undo, "undo", false, "let them take jobs again")
	return cmd
}
