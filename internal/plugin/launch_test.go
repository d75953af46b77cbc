package plugin

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func TestLaunchRefuses(t *testing.T) {
	t.Parallel()
	dir := func(mode os.FileMode) string {
		dir := filepath.Join(t.TempDir(), "connectors")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, Prefix+"toy"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{dir, filepath.Join(dir, Prefix+"toy")} {
			if err := os.Chmod(path, 0o755); err != nil { // whatever the umask
				t.Fatal(err)
			}
		}
		if mode&os.ModeDir != 0 {
			if err := os.Chmod(dir, mode.Perm()); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Chmod(filepath.Join(dir, Prefix+"toy"), mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(dir(0o775), Prefix+"toy"), filepath.Join(linked, Prefix+"toy")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		connector string
		dir       string
		want      string
	}{
		"a name with a path separator":         {"../toy", external, `"../toy" cannot be the name of a connector`},
		"a name that is a path":                {"/bin/sh", external, `cannot be the name of a connector`},
		"an empty name":                        {"", external, `cannot be the name of a connector`},
		"a name that is not installed":         {"sh", external, "no such connector"},
		"a file that its group can write":      {"toy", dir(0o775), "can be written by others"},
		"a file that everybody can write":      {"toy", dir(0o757), "can be written by others"},
		"a directory that its group can write": {"toy", dir(os.ModeDir | 0o775), "can be written by others"},
		"a link to such a file":                {"toy", linked, "can be written by others"},
		"a file that is not executable":        {"toy", dir(0o644), "is not an executable file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := (&Launcher{Dirs: []string{test.dir}}).Launch(t.Context(), test.connector)
			if err == nil || !strings.Contains(err.Error(), test.want) || connector.KindOf(err) != connector.KindConfig || connector.HintOf(err) == "" {
				t.Errorf("%v (%v, %q), want %q", err, connector.KindOf(err), connector.HintOf(err), test.want)
			}
		})
	}
}

func TestOnlyRootAndTheUserMayOwnAConnector(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := trusted(path, os.Geteuid()); err != nil {
		t.Error(err)
	}
	err := trusted(path, os.Geteuid()+1)
	if os.Geteuid() == 0 && err != nil {
		t.Errorf("root's file is refused: %v", err)
	}
	if os.Geteuid() != 0 && err == nil {
		t.Error("another user's file is accepted")
	}
}

func TestChecksumIsVerified(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(filepath.Join(external, Prefix+"toy"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	good := &Launcher{Dirs: []string{external}, Checksums: map[string][sha256.Size]byte{"toy": sum}, Logger: slog.New(slog.DiscardHandler)}
	p, err := good.Launch(t.Context(), "toy")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	sum[0]++
	bad := &Launcher{Dirs: []string{external}, Checksums: map[string][sha256.Size]byte{"toy": sum}}
	if _, err := bad.Launch(t.Context(), "toy"); connector.KindOf(err) != connector.KindConfig || !strings.Contains(err.Error(), "recorded checksum") {
		t.Errorf("%v", err)
	}
}

func TestLaunchSaysWhyAStartFailed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind    connector.Kind
		timeout time.Duration
		want    string
	}{
		"hang":           {connector.KindUnavailable, 300 * time.Millisecond, "launch connector hang: no answer within 300ms"},
		"crash_at_start": {connector.KindUnavailable, 0, "connector crash_at_start ended unexpectedly (exit status 3): cannot read my own mind"},
		"old_protocol":   {connector.KindConfig, 0, "launch connector old_protocol: it speaks version 99 of the connector protocol, this agent version 1"},
		"misnamed":       {connector.KindConfig, 0, `calls itself "toy"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := (&Launcher{Bundled: toys, StartTimeout: test.timeout, Logger: slog.New(slog.DiscardHandler)}).Launch(t.Context(), name)
			if err == nil || !strings.Contains(err.Error(), test.want) || connector.KindOf(err) != test.kind || connector.Cancelled(err) || connector.HintOf(err) == "" {
				t.Errorf("%v (%v, %q), want %q", err, connector.KindOf(err), connector.HintOf(err), test.want)
			}
		})
	}
}

func TestLaunchCanBeCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&Launcher{Bundled: toys, Logger: slog.New(slog.DiscardHandler)}).Launch(ctx, "hang")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNotAProgramIsAnErrorOfTheInstallation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, Prefix+"toy")
	if err := os.WriteFile(path, []byte("\x7fELF nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{dir, path} {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, err := (&Launcher{Dirs: []string{dir}, Logger: slog.New(slog.DiscardHandler)}).Launch(t.Context(), "toy")
	if connector.KindOf(err) != connector.KindConfig || !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("%v (%v)", err, connector.KindOf(err))
	}
}

func TestNamesListsBundledAndInstalled(t *testing.T) {
	t.Parallel()
	l := &Launcher{Bundled: []string{"zebra", "toy"}, Dirs: []string{external, filepath.Join(external, "absent")}}
	got, err := l.Names()
	if diff := cmp.Diff([]string{"toy", "zebra"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestStartedByHandTheConnectorSaysWhatItIs(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(filepath.Join(external, Prefix+"toy")).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "winch-connector-toy: this is the connector toy for winch") {
		t.Errorf("%v: %s", err, out)
	}
}
