// Command winch pulls data from vendors' APIs into a store, by schedule or by
// hand, and knows which windows of which stream it holds.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/winchdata/winch/internal/heap"
	"github.com/winchdata/winch/pkg/connector/serve"
)

// version is set at build time; without it the build information speaks.
var version string

func main() {
	serve.Bundled(os.Args[1:], bundled()...)
	heap.Keep(heap.Agent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, stop, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
