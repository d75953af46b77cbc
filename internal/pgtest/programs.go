package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// programs are the server programs of one installation.
type programs struct {
	bin string // directory that holds initdb and postgres
	// run is the user that they run as. PostgreSQL refuses root, so where we are
	// root it is another one; nil where it is ourselves.
	run *syscall.Credential
}

// places are where installations put the programs, as patterns; of several
// versions the newest is taken.
var places = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // PGDG on Red Hat
	"/usr/lib/postgresql*/bin",  // Alpine, openSUSE
	"/usr/libexec/postgresql*",
	"/usr/local/pgsql/bin", // built from source
	"/usr/local/bin",       // BSD
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// findPrograms returns the programs of a major version, of the newest that is
// installed if it is 0.
func findPrograms(major int) (programs, error) {
	run, err := unprivileged()
	if err != nil {
		return programs{}, err
	}
	for _, p := range candidates(run) {
		if found, err := p.major(); err == nil && (major == 0 || found == major) {
			return p, nil
		}
	}
	bin, err := fetch(run, major)
	if err != nil {
		return programs{}, fmt.Errorf("no server programs (initdb, postgres) of %s found: install the package postgresql, or set %s to a server's address (tried to fetch them: %w)", named(major), EnvURL, err)
	}
	p := programs{bin, run}
	return p, p.usable()
}

func named(major int) string {
	if major == 0 {
		return "PostgreSQL"
	}
	return fmt.Sprintf("PostgreSQL %d", major)
}

// candidates are the installations of this machine, the preferred first. Not all
// need be usable.
func candidates(run *syscall.Credential) []programs {
	var bins []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// Through links: the server finds its files beside the real program.
		if initdb, err = filepath.EvalSymlinks(initdb); err == nil {
			bins = append(bins, filepath.Dir(initdb))
		}
	}
	bins = append(bins, installed()...)
	all := make([]programs, len(bins))
	for i, bin := range bins {
		all[i] = programs{bin, run}
	}
	return all
}

func installed() []string {
	var found []string
	for _, place := range places {
		matches, err := filepath.Glob(place)
		if err != nil {
			panic(err) // a bad pattern
		}
		slices.SortFunc(matches, func(a, b string) int { return version(b) - version(a) })
		found = append(found, matches...)
	}
	return found
}

var digits = regexp.MustCompile(`\d+`)

// version returns the last number in a directory's name, or 0.
func version(dir string) int {
	all := digits.FindAllString(dir, -1)
	if len(all) == 0 {
		return 0
	}
	n, err := strconv.Atoi(all[len(all)-1])
	if err != nil {
		return 0
	}
	return n
}

// usable says why the programs cannot be run as the user they must run as.
func (p programs) usable() error {
	for _, name := range []string{"initdb", "postgres"} {
		if out, err := p.command(name, "--version").CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", filepath.Join(p.bin, name), err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// major returns the major version of usable programs.
func (p programs) major() (int, error) {
	if err := p.usable(); err != nil {
		return 0, err
	}
	out, err := p.command("postgres", "--version").Output() // postgres (PostgreSQL) 17.10
	if err != nil {
		return 0, err
	}
	_, text, _ := strings.Cut(string(out), ") ")
	major, err := strconv.Atoi(digits.FindString(text))
	if err != nil {
		return 0, fmt.Errorf("postgres --version of %s says %q", p.bin, out)
	}
	return major, nil
}

func (p programs) command(name string, arguments ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), filepath.Join(p.bin, name), arguments...)
	cmd.Dir = "/"                                                            // ours may be closed to its user
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}    // no PG* variables, no locale of the machine
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.run} // an interrupt at the terminal is not for it
	return cmd
}

// own gives a directory to the user that the programs run as, and lets others
// walk through it.
func (p programs) own(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if p.run == nil {
		return nil
	}
	return os.Chown(dir, int(p.run.Uid), int(p.run.Gid))
}

// template returns a data directory that was never started, for this version of
// PostgreSQL. initdb takes seconds and a copy takes a tenth of one, so it is made
// once and kept.
func (p programs) template() (string, error) {
	out, err := p.command("postgres", "--version").Output()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir(p.run)
	if err != nil {
		return "", err
	}
	// 1 is the version of how a template is made here.
	name := "template-1-" + regexp.MustCompile(`[^0-9A-Za-z.]+`).ReplaceAllString(strings.TrimSpace(string(out)), "-")
	template := filepath.Join(cache, name)
	unlock, err := lock(template + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(template); err == nil {
		return template, nil
	}
	work, err := os.MkdirTemp(cache, "initdb-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := p.own(work); err != nil {
		return "", err
	}
	password := filepath.Join(work, "password")
	if err := os.WriteFile(password, []byte(Password), 0o644); err != nil {
		return "", err
	}
	data := filepath.Join(work, "data")
	initdb := p.command("initdb", "--pgdata="+data, "--username=winch", "--pwfile="+password,
		"--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return template, os.Rename(data, template)
}

// unprivileged returns whom to run the server as: nobody else unless we are root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as: run the tests as an ordinary user")
}

// cacheDir returns a directory that outlives this process. Root's own cache is
// closed to the user that the server runs as.
func cacheDir(run *syscall.Credential) (string, error) {
	dir := "/var/cache/winch-pgtest"
	if run == nil {
		base, err := os.UserCacheDir()
		if err != nil {
			base = filepath.Join(os.TempDir(), "winch-cache-"+strconv.Itoa(os.Getuid()))
		}
		dir = filepath.Join(base, "winch-pgtest")
	} else if runtime.GOOS == "darwin" {
		dir = "/Library/Caches/winch-pgtest"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, nil
}

// lock takes an exclusive lock among all processes of the machine; it goes with
// the process.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
