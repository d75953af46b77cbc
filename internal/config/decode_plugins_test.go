package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A connector that lies in a plugin directory is known, without the schema of its
// settings; a relative directory starts where the file is.
func TestConnectorsOfPluginDirectoriesAreKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "winch.yaml")
	text := "plugins: {directories: [lib]}\nsources:\n  shop: {connector: acme, config: {token_url: x}}\n"
	load := func() (*Config, error) {
		return Load(Options{Path: file, Connectors: func(string) (json.RawMessage, bool) { return nil, false }})
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(); err == nil || !strings.Contains(err.Error(), "put winch-connector-acme into one of plugins.directories") {
		t.Errorf("without the executable: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lib", "winch-connector-acme"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Sources) != 1 || cfg.Sources[0].Connector != "acme" || cfg.Plugins.Directories[0] != filepath.Join(dir, "lib") {
		t.Errorf("%+v", cfg)
	}
}
