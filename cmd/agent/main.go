// Command winch pulls data from vendors' APIs into a store, by schedule or by
// hand, and knows which windows of which stream it holds.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/winchdata/winch/pkg/connector/serve"
)

// version is set at build time; without it the build information speaks.
var version string

func main() {
	serve.Bundled(os.Args[1:], bundled()...)
	keepMemoryLow()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, stop, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// keepMemoryLow lets the collector run when the heap has grown by half instead of
// doubled. A pull leaves so little behind that this is seldom either way.
func keepMemoryLow() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}
