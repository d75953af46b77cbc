package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/pkg/connector"
)

func (a *app) tokenCommand() *cobra.Command {
	var (
		reveal    bool
		partition string
	)
	cmd := &cobra.Command{
		Use:   "token SOURCE",
		Short: "print a bearer token, for curl",
		Long: `Prints a bearer token of the source, fetched by the connector's own token flow. It
refuses to print to a terminal, where it would stay in the scroll-back, unless
--reveal says so.`,
		Example: `  curl -H "Authorization: Bearer $(winch token kaisa_se)" https://api.analytics.freespee.com/2.4.9/customers
  winch token kaisa_se --output json | jq -r .base_url`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isTerminal(a.stdout) && !reveal {
				return usagef("winch token "+args[0]+" --reveal, or let a command read it: $(winch token "+args[0]+")",
					"a token is not printed to a terminal")
			}
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			src, err := cfg.Source(args[0])
			if err != nil {
				return err
			}
			session, err := a.openSource(cmd.Context(), a.launcher(cfg), src)
			if err != nil {
				return err
			}
			defer a.closing("connector", session.Close)
			token, err := fetchToken(cmd, session.Source, partition)
			if errors.Is(err, errors.ErrUnsupported) {
				return usagef("this source signs its requests in another way", "source %s has no bearer token", src.Name)
			}
			if err != nil {
				return fmt.Errorf("source %s: %w", src.Name, err)
			}
			if a.json() {
				return a.printJSON(struct {
					Token     string    `json:"token"`
					Type      string    `json:"type"`
					ExpiresAt time.Time `json:"expires_at"`
					BaseURL   string    `json:"base_url"`
				}{token.Value.Reveal(), token.Type, token.ExpiresAt.UTC(), token.BaseURL})
			}
			a.printf("%s\n", token.Value.Reveal())
			return nil
		},
	}
	cmd.Flags().BoolVar(&reveal, "reveal", false, "print also to a terminal")
	cmd.Flags().StringVar(&partition, "partition", "", "the token of this `PARTITION`, where a source has several")
	return cmd
}

func fetchToken(cmd *cobra.Command, src connector.Source, partition string) (connector.Token, error) {
	t, ok := src.(connector.Tokener)
	if !ok {
		return connector.Token{}, errors.ErrUnsupported
	}
	return t.Token(cmd.Context(), partition)
}
