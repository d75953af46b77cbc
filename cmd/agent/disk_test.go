package main

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/winchdata/winch/internal/disktest"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sandbox"
)

// Pulls of the simulated accounts of all vendors into a store whose disk is full:
// each says so and ends, the same command goes on once there is a little more space,
// and in the end the tables are the truth (I1, I2, I4, I7).
func TestPullsIntoAFullDiskGoOnWhereTheyStopped(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"postgres", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			f := newFullStore(t, store)
			failed := 0
			for free := int64(256 << 10); ; free *= 2 {
				f.disk.Leave(t, free)
				said, err := f.winch("pull")
				if err == nil {
					break
				}
				failed++
				var exit *exec.ExitError
				if !errors.As(err, &exit) || !strings.Contains(said, "try: free") {
					t.Fatalf("%d bytes free: %v\n%s", free, err, said)
				}
			}
			if failed < 2 {
				t.Errorf("the disk was full %d times only", failed)
			}
			f.takeOut()
			f.verify()
		})
	}
}

// A pull that meets the end of the server, which cannot write its log any more, says
// why; once the server is there again the same command goes on.
func TestPullsGoOnAfterTheServerEndedBecauseItsLogWasFull(t *testing.T) {
	t.Parallel()
	f := newFullStore(t, "postgres")
	f.server.UseLog(t)
	f.disk.Leave(t, 8<<20)
	said, err := f.winch("pull")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(said, "No space left on device") {
		t.Errorf("a full log: %v\n%s", err, said)
	}
	f.server.Kill(t)
	f.disk.Leave(t, 64<<20)
	f.server.Restart(t)
	f.forgetTheDead()
	if said, err := f.winch("pull"); err != nil {
		t.Errorf("with space again: %v\n%s", err, said)
	}
	f.verify()
}

// A fullStore is a store on a disk that can be filled.
type fullStore struct {
	*killer // who kills nobody here
	disk    *disktest.Disk
}

func newFullStore(t *testing.T, store string) *fullStore {
	t.Helper()
	f := &fullStore{killer: &killer{T: t, dir: t.TempDir()}}
	f.box = sandbox.New(sandbox.Options{Size: 1, Days: 3})
	server := httptest.NewServer(f.box)
	t.Cleanup(server.Close)
	f.sandbox = server.URL
	if store == "postgres" {
		f.server = pgtest.Start(t, pgtest.Options{Disk: 256 << 20})
		f.disk = f.server.Disk()
		f.url = f.server.Database(t)
	} else {
		f.disk = disktest.New(t, 256<<20)
		f.path = filepath.Join(f.disk.Dir(), "winch.db")
		f.url = "sqlite:" + f.path
	}
	if err := os.WriteFile(filepath.Join(f.dir, "winch.yaml"), sandboxConfig(f.box, f.sandbox, f.url), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := f.winch("migrate"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return f
}

// winch runs a command, on the disk if that holds the embedded store.
func (f *fullStore) winch(args ...string) (said string, err error) {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), "winch", args...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "HOME="+f.dir)
	if f.server == nil {
		f.disk.Enter(cmd)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// takeOut brings the embedded store to where this process sees it.
func (f *fullStore) takeOut() {
	f.Helper()
	if f.server != nil {
		return
	}
	// With its -wal: what is in there goes to the file when there is space.
	cmd := exec.CommandContext(f.Context(), "/bin/sh", "-c", `cp "$1"* "$2"`, "sh", f.path, f.dir)
	f.disk.Enter(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.Fatalf("%v: %s", err, out)
	}
	f.path = filepath.Join(f.dir, filepath.Base(f.path))
	f.url = "sqlite:" + f.path
}
