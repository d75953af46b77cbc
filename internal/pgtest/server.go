package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/disktest"
)

// Options of a server of one's own.
type Options struct {
	// Version is the major version; 0 is that of the environment variable
	// EnvVersion, or the newest that is installed.
	Version int
	// Durable makes the server wait for the disk, as servers in earnest do.
	// Without it data survives the server's death, but not the machine's.
	Durable bool
	// Loopback makes the server listen on a TCP port of 127.0.0.1 too, where it
	// asks for passwords; the socket asks for none.
	Loopback bool
	// FileSize, if not 0, is how large a file of the server can get, in bytes.
	// It is the full disk that is there on every system. Up to PostgreSQL 15 the error's
	// code is that of a full disk too if the size is no multiple of 8 KiB; later
	// ones know none for it. The server needs 16 MiB for its log.
	FileSize int64
	// Disk, if not 0, is the size in bytes of a disk of its own that holds all data
	// of the server, which takes some 50 MiB; see [Server.Disk]. Such a server has
	// no clones and no replicas. Where no disk can be had the test is skipped, see
	// [disktest.Refuse].
	Disk int64
	// Settings are server settings such as max_connections.
	Settings map[string]string
}

// Password is the password of the superuser winch, for [Server.LoopbackURL].
const Password = "winch-test-password"

const (
	startTimeout = 60 * time.Second
	pollInterval = 5 * time.Millisecond
)

// A Server is a PostgreSQL server that this process started. It is not safe for
// concurrent use.
type Server struct {
	options  Options
	programs programs
	dir      string // holds data, log and socket
	port     string
	disk     *disktest.Disk // nil: data lies in dir
	process  *exec.Cmd
	dismiss  func() // ends the watcher without ending the server
}

// Start starts a server for one test and stops it at the test's end.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := start(o)
	if errors.Is(err, disktest.ErrRefused) {
		disktest.Refuse(t, err)
	}
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(s.stop)
	return s
}

// URL returns the address of the database postgres, through the server's Unix
// socket.
func (s *Server) URL() string {
	return "postgres:///postgres?" + url.Values{"host": {s.dir}, "port": {s.port}, "user": {"winch"}}.Encode()
}

// LoopbackURL returns the address of the database postgres through TCP, with the
// password. It needs Options.Loopback.
func (s *Server) LoopbackURL() string {
	return "postgres://winch:" + Password + "@" + net.JoinHostPort("127.0.0.1", s.port) + "/postgres"
}

// Log returns what the server has logged.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Kill ends the server and all its processes with SIGKILL, as a power cut would.
// The data directory stays.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.kill(); err != nil {
		t.Fatalf("pgtest: kill: %v", err)
	}
}

// Restart starts a server that was killed on the data it left.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.launch(); err != nil {
		t.Fatalf("pgtest: restart: %v", err)
	}
}

// Clone starts another server on a copy of the data that a killed server left: as
// a replica that is promoted when the primary dies or, with standby, as one that
// stays a read-only replica.
func (s *Server) Clone(t testing.TB, standby bool) *Server {
	t.Helper()
	if s.process != nil {
		t.Fatal("pgtest: clone: kill the server first")
	}
	clone, err := prepare(s.options, s.programs, s.dataDir())
	if err == nil && standby {
		err = clone.markStandby()
	}
	if err == nil {
		err = clone.launch()
	}
	if err != nil {
		t.Fatalf("pgtest: clone: %v", err)
	}
	t.Cleanup(clone.stop)
	return clone
}

// Replica starts a read-only server that follows this one, which is restarted for
// it. It takes writes once pg_promote() is called there.
func (s *Server) Replica(t testing.TB) *Server {
	t.Helper()
	s.Kill(t)
	o := s.options
	o.Settings = maps.Clone(o.Settings)
	if o.Settings == nil {
		o.Settings = map[string]string{}
	}
	o.Settings["primary_conninfo"] = "host=" + s.dir + " port=" + s.port + " user=winch"
	replica, err := prepare(o, s.programs, s.dataDir())
	if err == nil {
		err = replica.markStandby()
	}
	s.Restart(t)
	if err == nil {
		err = replica.launch()
	}
	if err != nil {
		t.Fatalf("pgtest: replica: %v", err)
	}
	t.Cleanup(replica.stop)
	return replica
}

// markStandby makes the server a replica.
func (s *Server) markStandby() error {
	file := filepath.Join(s.dataDir(), "standby.signal")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return err
	}
	if s.programs.run == nil {
		return nil
	}
	return os.Chown(file, int(s.programs.run.Uid), int(s.programs.run.Gid))
}

// major is the version wanted; 0 if any will do.
func (o Options) major() (int, error) {
	text := os.Getenv(EnvVersion)
	if o.Version != 0 || text == "" {
		return o.Version, nil
	}
	major, err := strconv.Atoi(text)
	if err != nil || npmVersions[major] == "" {
		return 0, fmt.Errorf("%s is %q: want one of the major versions %v", EnvVersion, text, slices.Sorted(maps.Keys(npmVersions)))
	}
	return major, nil
}

func start(o Options) (*Server, error) {
	major, err := o.major()
	if err != nil {
		return nil, err
	}
	programs, err := findPrograms(major)
	if err != nil {
		return nil, err
	}
	template, err := programs.template()
	if err != nil {
		return nil, err
	}
	s, err := prepare(o, programs, template)
	if err != nil {
		return nil, err
	}
	if err := s.launch(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// prepare returns a server that is not started yet, on a copy of a data directory.
func prepare(o Options, programs programs, data string) (*Server, error) {
	dir, err := os.MkdirTemp(o.home(), "winch-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, programs: programs, dir: dir, port: "5432"}
	if o.Loopback {
		if s.port, err = freePort(); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err := programs.own(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if o.Disk > 0 {
		if err := s.mount(); err != nil {
			s.stop()
			return nil, err
		}
	}
	if out, err := s.copyCommand(data).CombinedOutput(); err != nil {
		s.stop()
		return nil, fmt.Errorf("copy %s: %w: %s", data, err, bytes.TrimSpace(out))
	}
	return s, nil
}

// home is where the server's directory is made: in memory if there is plenty, and
// nobody asked for a disk, since a database is some hundred files.
func (o Options) home() string {
	const memory, plenty = "/dev/shm", 4 << 30
	var there syscall.Statfs_t
	if o.Durable || syscall.Statfs(memory, &there) != nil || there.Bavail*uint64(there.Bsize) < plenty {
		return "" // the system's directory for temporary files
	}
	return memory
}

// freePort returns a port that was free a moment ago. A server that finds it
// taken fails to start and says so.
func freePort() (string, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "server.log") }

func (s *Server) dataDir() string {
	if s.disk != nil {
		return filepath.Join(s.disk.Dir(), "data")
	}
	return filepath.Join(s.dir, "data")
}

func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": s.dir,
		"port":                    s.port,
		"timezone":                "UTC",
	}
	if s.options.Loopback {
		settings["listen_addresses"] = "127.0.0.1"
	}
	if !s.options.Durable {
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
		settings["dynamic_shared_memory_type"] = "mmap" // in its directory, which goes also when the server is killed
	}
	if s.disk != nil {
		// So that a session, not a process behind it, meets the disk that is full.
		settings["wal_writer_delay"], settings["bgwriter_delay"] = "10s", "10s"
		settings["wal_writer_flush_after"] = "1GB"
	}
	for name, value := range s.options.Settings {
		settings[name] = value
	}
	arguments := []string{"-D", s.dataDir()}
	for name, value := range settings {
		arguments = append(arguments, "-c", name+"="+value)
	}
	return arguments
}

// launch starts the server and returns when it answers.
func (s *Server) launch() error {
	deadline := time.Now().Add(startTimeout)
	for {
		before := len(s.Log())
		err := s.launchOnce(deadline)
		if err == nil {
			return nil
		}
		// Processes of a server that was just killed hold its memory until the
		// kernel has cleared them away.
		leftover := strings.Contains(s.Log()[before:], "shared memory block")
		if err := s.kill(); err != nil {
			return err
		}
		if !leftover || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollInterval)
	}
}

func (s *Server) launchOnce(deadline time.Time) error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	offset, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	process := s.programs.command("postgres", s.arguments()...)
	if s.options.FileSize > 0 {
		// The shell counts in blocks of 512 bytes.
		limited := []string{"/bin/sh", "-c", `ulimit -f "$1" && shift && exec "$@"`, "sh", strconv.FormatInt(s.options.FileSize/512, 10)}
		process.Path, process.Args = limited[0], append(limited, process.Args...)
	}
	process.Dir = s.dir
	if s.disk != nil {
		s.enterDisk(process)
	}
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", process.Path, err)
	}
	s.process = process
	if s.dismiss, err = watch(process.Process.Pid, s.dir); err != nil {
		return err
	}
	for {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		conn, err := pgx.Connect(ctx, s.URL())
		if err == nil {
			err = conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return nil
		}
		said := s.Log()[offset:]
		if gaveUp(said) || time.Now().After(deadline) {
			return fmt.Errorf("server does not start: %w; it said: %s", err, strings.TrimSpace(said))
		}
		time.Sleep(pollInterval)
	}
}

// gaveUp reports whether the server's words tell of its end. "The database system
// is starting up" and its like are meant for us, who ask too early, and sessions of
// one that was killed may have last words.
func gaveUp(log string) bool {
	fatal := strings.Count(log, "FATAL:  ")
	for _, other := range []string{"the database system is ", "terminating connection"} {
		fatal -= strings.Count(log, "FATAL:  "+other)
	}
	return fatal > 0
}

// watch starts a process that ends the server and removes its directory when
// this process ends, however it ends: the kernel then closes the pipe it reads.
func watch(server int, dir string) (dismiss func(), err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	// The server gets SIGQUIT: out at once, without a checkpoint. It waits all the
	// same for a client that connected and says nothing, so it gets SIGKILL then.
	watcher := exec.CommandContext(context.Background(), "/bin/sh", "-c", `read -r dismissed && exit
kill -QUIT "$1"
while kill -0 "$1" 2>/dev/null && [ $((tries += 1)) -lt 50 ]; do sleep 0.1; done
kill -KILL "$1" 2>/dev/null
rm -rf "$2"`, "sh", strconv.Itoa(server), dir)
	watcher.Stdin = read
	watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is not for it
	if err := watcher.Start(); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return func() {
		_, _ = write.WriteString("dismissed\n")
		_ = write.Close()
		_ = watcher.Wait()
	}, nil
}

// kill sends SIGKILL to the server and to its children. The server is stopped
// first, so that it has no more.
func (s *Server) kill() error {
	if s.process == nil {
		return nil
	}
	pid := s.process.Process.Pid
	if err := s.process.Process.Signal(syscall.SIGSTOP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	family, err := children(pid)
	if err != nil {
		return err
	}
	for _, child := range family {
		if err := syscall.Kill(child, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	if err := s.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	s.ended()
	return nil
}

// quitTime is how long a server may take to end.
const quitTime = 5 * time.Second

// quit ends the server at once, without a checkpoint. Unlike one that is killed, it
// leaves no shared memory behind.
func (s *Server) quit() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Process.Signal(syscall.SIGQUIT); err != nil {
		return s.kill()
	}
	process := s.process.Process
	late := time.AfterFunc(quitTime, func() { _ = process.Kill() })
	s.ended()
	late.Stop()
	return nil
}

// ended waits for the end of the server.
func (s *Server) ended() {
	_ = s.process.Wait() // the error says how it was ended
	s.process = nil
	if s.dismiss != nil {
		s.dismiss()
		s.dismiss = nil
	}
}

// stop ends the server and removes its directory. What cannot be removed is left
// to the system's own cleaning of temporary files.
func (s *Server) stop() {
	_ = s.quit()
	if s.disk != nil {
		s.disk.Unmount()
	}
	_ = os.RemoveAll(s.dir)
}
