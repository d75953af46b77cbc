package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/sandbox"
)

// sandboxFlags are the flags that shape a sandbox, for demo and sandbox.
type sandboxFlags struct {
	seed     uint64
	size     int
	days     int
	volume   float64
	lifetime time.Duration
}

func (f *sandboxFlags) register(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "the `SEED` that all data is derived from")
	cmd.Flags().IntVar(&f.size, "size", 25, "`CUSTOMERS` of the simulated account; everything else follows from it")
	cmd.Flags().IntVar(&f.days, "days", 30, "`DAYS` of history")
	cmd.Flags().Float64Var(&f.volume, "volume", 1, "multiplies the number of calls per day by `FACTOR`")
	cmd.Flags().DurationVar(&f.lifetime, "token-lifetime", 0, "how long tokens live (default as documented by the vendor)")
}

func (f *sandboxFlags) open() (*sandbox.Sandbox, error) {
	if f.size < 1 || f.days < 1 || f.volume <= 0 || f.lifetime < 0 {
		return nil, usagef("--size 25 --days 30 --volume 1", "--size, --days and --volume must be positive")
	}
	options := sandbox.Options{
		Seed: f.seed, Size: f.size, Days: f.days, Volume: f.volume, TokenLifetime: f.lifetime,
	}
	if err := options.Validate(); err != nil {
		return nil, usagef("smaller numbers", "%w", err)
	}
	return sandbox.New(options), nil
}

func (a *app) sandboxCommand() *cobra.Command {
	var (
		flags  sandboxFlags
		listen string
		write  string
		force  bool
	)
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "serve the simulated vendor APIs, to try things without credentials",
		Long: `Serves simulated vendor APIs until it is interrupted: real HTTP, real token expiry,
the vendors' quirks, data derived from a seed. The page at / lists endpoints,
credentials and the faults that can be switched on. It listens on loopback unless
told otherwise, and its credentials are public: never expose it.`,
		Example: `  winch sandbox --write-config winch.yaml     then, elsewhere: winch pull
  winch sandbox --listen 127.0.0.1:8700 --size 500 --days 365 --token-lifetime 5s`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sim, err := flags.open()
			if err != nil {
				return err
			}
			server, err := serveSandbox(sim, listen)
			if err != nil {
				return err
			}
			defer a.closing("sandbox", server.close)
			if write != "" {
				if err := writeNew(write, sandboxConfig(sim, server.url, config.DefaultSink), force); err != nil {
					return err
				}
			}
			if err := a.printSandbox(sim, server.url, write); err != nil {
				return err
			}
			<-cmd.Context().Done()
			return nil // being interrupted is how a sandbox ends
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8700", "`ADDRESS` to listen on; port 0 takes a free one")
	cmd.Flags().StringVar(&write, "write-config", "", "write a configuration for it to `FILE`")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	return cmd
}

func (a *app) printSandbox(sim *sandbox.Sandbox, url, written string) error {
	sources := sim.Sources(url)
	if a.json() {
		return a.printJSON(struct {
			URL     string           `json:"url"`
			Config  string           `json:"config,omitempty"`
			Sources []sandbox.Source `json:"sources"`
		}{url, written, sources})
	}
	a.printf("sandbox at %s (open it in a browser); Ctrl-C ends it\n", url)
	for _, s := range sources {
		a.printf("  source %s: connector %s\n", s.Name, s.Connector)
	}
	if written != "" {
		a.printf("wrote %s; elsewhere: %s pull -c %s\n", written, self(), written)
	}
	return nil
}

// sandboxConfig renders a configuration that works against the sandbox as it
// stands.
func sandboxConfig(sim *sandbox.Sandbox, url, sinkURL string) []byte {
	file := config.File{
		Comment: "A configuration for the sandbox at " + url + ". Its credentials are public.",
		SinkURL: sinkURL,
	}
	for _, s := range sim.Sources(url) {
		file.Sources = append(file.Sources, config.FileSource{
			Name: s.Name, Connector: s.Connector, Config: s.Config, Schedule: "@every 1h",
			Since: sim.Begin().Format(time.DateOnly), Streams: append(everyStream(s.Connector), s.Streams...),
		})
	}
	return config.Render(file)
}

// everyStream names all streams of a bundled connector, those among them that are
// pulled only when named.
func everyStream(name string) []string {
	def, _ := bundledConnector(name)
	var names []string
	for _, s := range def.Streams {
		names = append(names, s.Name)
	}
	return names
}

// sandboxServer is a sandbox that is being served.
type sandboxServer struct {
	url    string
	server *http.Server
	done   chan error
}

func serveSandbox(sim *sandbox.Sandbox, address string) (*sandboxServer, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, usagef("another --listen address, or port 0 for a free one", "listen: %w", err)
	}
	s := &sandboxServer{
		url:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second},
		done:   make(chan error, 1),
	}
	go func() { s.done <- s.server.Serve(listener) }()
	return s, nil
}

func (s *sandboxServer) close() error {
	err := s.server.Close()
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		return fmt.Errorf("sandbox: %w", served)
	}
	return err
}
