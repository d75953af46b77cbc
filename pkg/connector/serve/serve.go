// Package serve is what the main of a connector calls:
//
//	func main() { serve.Main(definition) }
//
// The agent starts the program, talks to it over a private socket and ends it.
// Log lines go through [log/slog]'s default logger to the agent's own log, with
// their level and fields; what is printed to standard output or error gets there
// too, as a warning.
package serve

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/winchdata/winch/internal/heap"
	"github.com/winchdata/winch/internal/wire"
	"github.com/winchdata/winch/pkg/connector"
)

// exitUsage is the exit status of a program that was started in a wrong way.
const exitUsage = 2

// Main serves the connector to the agent that started the program. It never
// returns: it exits with 0 when the agent has said so, and with 2 and a message
// when it was not an agent that started the program.
func Main(def connector.Definition) {
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s: this is the connector %s for winch and is started by it\n  try: winch connectors %s\n",
			filepath.Base(os.Args[0]), def.Name, def.Name)
		exit(exitUsage)
	}
	// Before go-plugin puts pipes in the place of os.Stderr and os.Stdout.
	level := &slog.LevelVar{}
	slog.SetDefault(slog.New(newLogHandler(os.Stderr, level)))

	// The agent ends a connector, nobody else. A service manager that stops the
	// agent signals the whole group of processes, and the agent may want to bring
	// a slice to its end first.
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	go endWithAgent(os.Stdin)

	heap.Keep(heap.Connector)
	// The agent, its other connectors and often the store want the machine too:
	// threads beyond half of it mostly wake each other.
	runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2))
	if err := preferThroughput(); err != nil {
		slog.Debug("the system does not let the connector give way to others", "error", err)
	}

	server := wire.NewServer(def, level.Set)
	server.Trace(startTracing)
	config := &plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.ServerPlugins(server),
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr, JSONFormat: true}),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			options = append(options, grpc.StatsHandler(connections{}))
			return grpc.NewServer(append(options, wire.ServerOptions()...)...)
		},
	}
	if err := identify(config); err != nil {
		slog.Debug("go-plugin makes the connector's certificate", "error", err)
	}
	plugin.Serve(config)
	if err := server.CloseSources(); err != nil {
		slog.Warn("source not closed cleanly", "error", err)
	}
	exit(0)
}

// Bundled is called first thing in the main of the agent. If the agent started
// itself as one of its bundled connectors, args are the arguments after the
// program's name that say so; Bundled then serves that connector as Main does
// and does not return. Otherwise it returns at once.
func Bundled(args []string, definitions ...connector.Definition) {
	if len(args) != 2 || args[0] != wire.ServeArgument {
		return
	}
	for _, def := range definitions {
		if def.Name == args[1] {
			Main(def)
		}
	}
	fmt.Fprintf(os.Stderr, "%s: no bundled connector is named %q\n", filepath.Base(os.Args[0]), args[1])
	exit(exitUsage)
}

// endWithAgent ends the process, and those it started, when the agent is gone.
// The agent holds the other end of lifeline, writes nothing and closes it never:
// only its death does, whatever kind of death it is, on every Unix. (Linux could
// also send a signal at the parent's death, but sends it when the parent's thread
// ends, which is no death, and the signal would leave our own children behind.)
func endWithAgent(lifeline io.Reader) {
	_, _ = io.Copy(io.Discard, lifeline)
	removeSocket(os.Getenv(plugin.EnvUnixSocketDir))
	if syscall.Getpgrp() == os.Getpid() { // else the group is not ours to end
		_ = syscall.Kill(0, syscall.SIGKILL)
	}
	exit(1)
}

func exit(status int) {
	os.Exit(status) //nolint:forbidigo // Main stands for the main of a connector
}

// removeSocket removes the directory that the agent made for our socket and can
// no longer remove itself, and no other: one that holds more than sockets stays.
func removeSocket(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.Type()&os.ModeSocket != 0 {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
	_ = os.Remove(dir)
}
