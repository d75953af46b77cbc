package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/plugin"
)

// loadConfig loads the configuration that the command line names.
func (a *app) loadConfig() (*config.Config, error) { return a.load(false) }

// loadSink loads the configuration for a command that needs nothing but the
// sink: without a file, the default or WINCH_SINK_URL counts.
func (a *app) loadSink() (*config.Config, error) { return a.load(true) }

func (a *app) load(optional bool) (*config.Config, error) {
	cfg, err := a.readConfig(optional)
	if err != nil {
		return nil, err
	}
	a.setLog(cfg.Log)
	return cfg, a.observe(cfg)
}

// readConfig reads the configuration and changes nothing.
func (a *app) readConfig(optional bool) (*config.Config, error) {
	return config.Load(config.Options{
		Path:       a.configPath,
		Optional:   optional,
		Flags:      a.logFlags,
		Environ:    os.Environ(),
		Connectors: bundledSchema,
		Names:      bundledNames(),
	})
}

// launcher starts the connectors that the configuration knows.
func (a *app) launcher(cfg *config.Config) *plugin.Launcher {
	checksums := map[string][sha256.Size]byte{}
	for name, text := range cfg.Plugins.Checksums {
		var sum [sha256.Size]byte
		if n, err := hex.Decode(sum[:], []byte(text)); err != nil || n != len(sum) {
			panic("checksum of " + name + " was not validated") // config does that
		}
		checksums[name] = sum
	}
	launcher := &plugin.Launcher{
		Bundled:   bundledNames(),
		Dirs:      cfg.Plugins.Directories,
		Checksums: checksums,
		Logger:    a.logFor("plugin"),
	}
	if a.observed.telemetry.Tracing() {
		launcher.Spans = a.observed.telemetry.Forward
	}
	return launcher
}
