// Package disktest gives tests a disk that is small enough to be filled: a tmpfs in
// a mount namespace of its own, which root and ordinary users can make alike.
//
// Only programs that are started on the disk see it, see [Disk.Enter] and [Run].
package disktest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// ErrRefused says that this machine does not let its user make a disk.
var ErrRefused = errors.New("no disk of one's own can be mounted here")

// A Disk is held by a process, and gone when this process has ended, however it
// ends, and those on it too. It is not safe for concurrent use.
type Disk struct {
	dir    string
	holder *exec.Cmd // nil: this process is on the disk
	pipe   io.Closer // the holder ends when it is closed
}

// New mounts a disk of so many bytes until the test ends.
func New(t testing.TB, size int64) *Disk {
	t.Helper()
	dir := t.TempDir()
	d, err := Mount(dir, size, nil)
	if err != nil {
		Refuse(t, err)
	}
	t.Cleanup(d.Unmount)
	return d
}

// envDir names the directory of the disk to the process that runs on it.
const envDir = "WINCH_TEST_DISK"

// Run runs a test on a disk of so many bytes, which holds temporary files too. The
// body runs in a process of its own, so it sees nothing of what the test did before,
// and the test can do nothing after.
func Run(t *testing.T, size int64, body func(d *Disk)) {
	t.Helper()
	if dir := os.Getenv(envDir); dir != "" {
		body(&Disk{dir: dir})
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := New(t, size)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), envDir+"="+d.dir, "TMPDIR="+d.dir)
	d.Enter(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatalf("on a small disk: %v\n%s", err, out)
	}
}

// Refuse ends a test for which no disk could be mounted: where that is refused it is
// skipped, and says what to set.
func Refuse(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrRefused) {
		t.Skip(err)
	}
	t.Fatal(err)
}

// Mount mounts a disk at a directory, as the user that run names, or as ourselves if
// it is nil.
func Mount(dir string, size int64, run *syscall.Credential) (*Disk, error) {
	// The ballast is made here, since root outside is nobody on the disk and makes
	// no files there.
	holder := exec.CommandContext(context.Background(), "unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c",
		`mount -t tmpfs -o "size=$2,mode=0755" none "$1" && : >"$1/ballast" && echo mounted && exec cat`, "sh", dir, strconv.FormatInt(size, 10))
	holder.Dir = "/"
	holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: run} // an interrupt at the terminal is not for it
	var said strings.Builder
	holder.Stderr = &said
	pipe, err := holder.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	d := &Disk{dir: dir, holder: holder, pipe: pipe}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		d.Unmount()
		return nil, fmt.Errorf("%w: %s (%w); let users make namespaces: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=1000 "+
			"kernel.apparmor_restrict_unprivileged_userns=0, as far as there are such, and in a container let it call unshare and mount (--privileged)",
			ErrRefused, strings.TrimSpace(said.String()), err)
	}
	return d, nil
}

// Unmount lets go of the disk.
func (d *Disk) Unmount() {
	_ = d.pipe.Close()
	_ = d.holder.Wait() // how it ended says nothing
}

// Dir is the directory of the disk, for programs on it.
func (d *Disk) Dir() string { return d.dir }

// Enter makes a command that is not started yet run on the disk. It takes itself for
// root there, and its process id becomes that of the command.
func (d *Disk) Enter(cmd *exec.Cmd) {
	there, err := filepath.Abs(cmd.Dir)
	if err != nil && cmd.Err == nil {
		cmd.Err = err
	}
	entered := exec.CommandContext(context.Background(), "nsenter", "--target", strconv.Itoa(d.holder.Process.Pid), "--user", "--mount", "--preserve-credentials",
		"/bin/sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", there, cmd.Path) // a mount namespace is entered at its root
	if entered.Err != nil {
		cmd.Err = entered.Err
	}
	cmd.Args = append(entered.Args, cmd.Args[1:]...)
	cmd.Path = entered.Path
}

// Leave fills the disk, or frees space, until so many bytes are free.
func (d *Disk) Leave(t testing.TB, free int64) {
	t.Helper()
	if err := d.leave(free); err != nil {
		t.Fatalf("disktest: %v", err)
	}
}

func (d *Disk) leave(free int64) error {
	ballast, err := os.OpenFile(d.path("ballast"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = ballast.Close() }()
	info, err := ballast.Stat()
	if err != nil {
		return err
	}
	there, err := d.Free()
	if err != nil {
		return err
	}
	size := info.Size() + there - free
	if size < 0 {
		return fmt.Errorf("%d bytes are free without any ballast, want %d", info.Size()+there, free)
	}
	if size <= info.Size() {
		return ballast.Truncate(size)
	}
	_, err = io.CopyN(io.NewOffsetWriter(ballast, info.Size()), zeros{}, size-info.Size())
	return err
}

// Free returns how many bytes are free.
func (d *Disk) Free() (int64, error) {
	var there syscall.Statfs_t
	if err := syscall.Statfs(d.path(), &there); err != nil {
		return 0, err
	}
	return int64(there.Bavail) * int64(there.Bsize), nil
}

// path is that of what is on the disk, for this process.
func (d *Disk) path(name ...string) string {
	if d.holder == nil {
		return filepath.Join(append([]string{d.dir}, name...)...)
	}
	root := fmt.Sprintf("/proc/%d/root", d.holder.Process.Pid)
	return filepath.Join(append([]string{root, d.dir}, name...)...)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
