// Package archtest holds the architecture as tests: who may import whom, and that
// the documentation points somewhere.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/winchdata/winch"

// mayImport is the table of ARCHITECTURE.md: for each package, or folder of
// packages ending in /..., which of ours it may import outside of its tests.
// A package that is not listed fails the test.
var mayImport = map[string][]string{
	"pkg/connector":                  {},
	"pkg/connector/cassette":         {"pkg/connector", "internal/jsonscan"},
	"pkg/connector/internal/manners": {"pkg/connector", "pkg/connector/cassette", "internal/jsonscan", "internal/tracing"},
	"pkg/connector/auth":             {"pkg/connector", "pkg/connector/cassette", "pkg/connector/internal/manners", "internal/jsonscan", "internal/tracing"},
	"pkg/connector/rest":             {"pkg/connector", "pkg/connector/auth", "pkg/connector/cassette", "pkg/connector/internal/manners", "internal/jsonscan", "internal/tracing"},
	"pkg/connector/serve":            {"pkg/connector", "internal/heap", "internal/spans", "internal/wire/..."},
	"pkg/connector/manual":           {"pkg/connector"},
	"pkg/connector/connectortest":    {"pkg/connector", "pkg/connector/cassette", "pkg/connector/rest", "internal/plugin", "internal/wire/..."},
	"connectors/...":                 {"pkg/connector", "pkg/connector/auth", "pkg/connector/cassette", "pkg/connector/rest"},
	"connectors/generic":             {"pkg/connector", "pkg/connector/auth", "pkg/connector/rest", "configs"},
	"configs":                        {},
	"internal/jsonscan":              {},
	"internal/tracing":               {"pkg/connector"},
	"internal/spans":                 {"internal/tracing"},
	"internal/lineage/lineagetest":   {},
	"internal/lineage":               {"pkg/connector", "internal/ledger", "internal/post", "internal/sink"},
	"internal/post":                  {},
	"internal/metrics":               {"pkg/connector", "internal/ledger", "internal/sink", "internal/tracing"},
	"internal/telemetry/otlptest":    {},
	"internal/telemetry":             {"pkg/connector", "internal/spans", "internal/tracing"},
	"internal/wire/...":              {"pkg/connector", "pkg/connector/cassette", "internal/wire/..."},
	"internal/plugin":                {"pkg/connector", "pkg/connector/serve", "internal/wire/..."},
	"internal/config":                {"pkg/connector"},
	"internal/ledger":                {"pkg/connector"},
	"internal/record":                {"pkg/connector", "internal/jsonscan"},
	"internal/record/recordtest":     {"pkg/connector"},
	"internal/quarantine":            {"pkg/connector", "internal/record"},
	"internal/sink":                  {"pkg/connector", "internal/ledger", "internal/record", "internal/tracing"},
	"internal/sink/postgres":         {"pkg/connector", "internal/ledger", "internal/quarantine", "internal/record", "internal/sink", "migrations"},
	"internal/sink/sqlite":           {"pkg/connector", "internal/ledger", "internal/quarantine", "internal/record", "internal/sink", "internal/tracing", "migrations"},
	"internal/sink/sinktest":         {"pkg/connector", "internal/ledger", "internal/quarantine", "internal/record", "internal/record/recordtest", "internal/sink"},
	"internal/pull":                  {"pkg/connector", "internal/jsonscan", "internal/ledger", "internal/lineage", "internal/metrics", "internal/quarantine", "internal/record", "internal/sink", "internal/tracing"},
	"internal/alert":                 {"pkg/connector", "internal/metrics", "internal/post", "internal/pull", "internal/sink"},
	"internal/backfill":              {"pkg/connector", "internal/ledger", "internal/pull", "internal/sink"},
	"internal/scheduler":             {"pkg/connector", "internal/ledger", "internal/pull", "internal/sink", "internal/tracing"},
	"internal/scheduler/riverqueue":  {"internal/scheduler", "internal/sink", "internal/sink/postgres"},
	"internal/sandbox/...":           {"pkg/connector", "internal/sandbox/..."},
	"internal/heap":                  {},
	"internal/pgtest/...":            {"internal/pgtest/...", "internal/disktest"},
	"internal/disktest":              {},
	"internal/archtest":              {},
	"internal/bench/...":             {"..."},
	"migrations":                     {},
	"cmd/agent":                      {"..."},
}

// mustNotReach lists what must not come in by any way, with the reason.
var mustNotReach = []struct{ from, to, why string }{
	{"pkg/connector", "", "a connector author's types and tests need nothing but the standard library"},
	{"internal/pull", "github.com/jackc/pgx", "a run knows sinks by their contract"},
	{"internal/pull", "github.com/hashicorp/go-plugin", "a run knows sources, not processes"},
	{"internal/scheduler", "github.com/hashicorp/go-plugin", "deciding ticks needs no processes"},
	{"internal/scheduler", "github.com/jackc/pgx", "deciding ticks knows stores and queues by their contracts"},
	{"internal/ledger", "google.golang.org/grpc", "planning is pure"},
	{"connectors/...", "github.com/jackc/pgx", "connectors do not know where records land"},
	{"connectors/...", "github.com/hashicorp/go-plugin", "serve alone knows the plugin mechanism"},
	{"connectors/...", "testing", "test code stays out of production binaries"},
	{"pkg/connector/rest", "github.com/hashicorp/go-plugin", "HTTP manners need no processes"},
	{"pkg/connector/rest", "go.opentelemetry.io/otel/sdk", "who makes spans does not decide where they go"},
	{"internal/pull", "go.opentelemetry.io/otel/sdk", "who makes spans does not decide where they go"},
	{"internal/metrics", "go.opentelemetry.io/otel/sdk", "who measures does not decide who reads"},
	{"pkg/connector/serve", "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp", "a connector sends its spans to the agent alone"},
	{"internal/plugin", "github.com/jackc/pgx", "processes know nothing of stores"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,Deps,Standard"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func ours(path string) (string, bool) {
	return strings.CutPrefix(path, module+"/")
}

// matches reports whether a package is named by a pattern: itself, or a folder
// ending in /... that holds it.
func matches(pattern, pkg string) bool {
	folder, isFolder := strings.CutSuffix(pattern, "...")
	if !isFolder {
		return pattern == pkg
	}
	return strings.HasPrefix(pkg+"/", folder)
}

func rule(pkg string) (allowed []string, ok bool) {
	best := ""
	for pattern, list := range mayImport {
		if matches(pattern, pkg) && len(pattern) > len(best) {
			best, allowed, ok = pattern, list, true
		}
	}
	return allowed, ok
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, p := range list(t, "./...") {
		pkg, ok := ours(p.ImportPath)
		if !ok {
			continue
		}
		for pattern := range mayImport {
			used[pattern] = used[pattern] || matches(pattern, pkg)
		}
		allowed, ok := rule(pkg)
		if !ok {
			t.Errorf("%s is not in the import table: add it with what it may import, also in ARCHITECTURE.md", pkg)
			continue
		}
		for _, imported := range p.Imports {
			dep, ok := ours(imported)
			if ok && !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, dep) }) {
				t.Errorf("%s must not import %s", pkg, dep)
			}
		}
	}
	for pattern := range mayImport {
		if !used[pattern] {
			t.Errorf("the import table lists %s, which does not exist", pattern)
		}
	}
}

func TestNothingForbiddenComesInIndirectly(t *testing.T) {
	t.Parallel()
	standard := map[string]bool{}
	for _, p := range list(t, "std") {
		standard[p.ImportPath] = true
	}
	all := list(t, "./...")
	for _, ban := range mustNotReach {
		found := false
		for _, p := range all {
			pkg, ok := ours(p.ImportPath)
			if !ok || !matches(ban.from, pkg) {
				continue
			}
			found = true
			for _, dep := range p.Deps {
				outside := ban.to == "" && !standard[dep] && !strings.HasPrefix(dep, "vendor/")
				if outside || ban.to != "" && strings.HasPrefix(dep, ban.to) && (ban.to != "testing" || dep == ban.to) {
					t.Errorf("%s reaches %s: %s", pkg, dep, ban.why)
				}
			}
		}
		if !found {
			t.Errorf("the rule against %s -> %s names a package that does not exist", ban.from, ban.to)
		}
	}
}
