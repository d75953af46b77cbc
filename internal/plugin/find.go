package plugin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/winchdata/winch/internal/wire"
	"github.com/winchdata/winch/pkg/connector"
)

// Prefix is what the name of a connector's executable begins with; the
// connector's name is the rest.
const Prefix = "winch-connector-"

// Names returns the names of all connectors that could be launched, sorted:
// those bundled and those in the directories. A directory that does not exist
// has none.
func (l *Launcher) Names() ([]string, error) {
	names := slices.Clone(l.Bundled)
	for _, dir := range l.Dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list connectors: %w", err)
		}
		for _, entry := range entries {
			if name, ok := strings.CutPrefix(entry.Name(), Prefix); ok && connector.ValidName(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// find returns the executable of a connector and its arguments, if the
// executable may be trusted.
func (l *Launcher) find(name string) (path string, args []string, err error) {
	bad := func(hint, format string, a ...any) (string, []string, error) {
		return "", nil, &connector.Error{Kind: connector.KindConfig, Op: "launch connector " + name, Err: fmt.Errorf(format, a...), Hint: hint}
	}
	if !connector.ValidName(name) { // before anything is done with the name, which may hold ../
		return "", nil, &connector.Error{
			Kind: connector.KindConfig, Err: fmt.Errorf("%q cannot be the name of a connector", name),
			Hint: "names have lower case letters, digits and underscores, and begin with a letter",
		}
	}
	if slices.Contains(l.Bundled, name) {
		self, err := os.Executable()
		if err != nil {
			return bad("", "find this program: %w", err)
		}
		return self, []string{wire.ServeArgument, name}, nil
	}
	for _, dir := range l.Dirs {
		path, err := filepath.Abs(filepath.Join(dir, Prefix+name))
		if err != nil {
			return bad("", "find it: %w", err)
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return bad("", "find it: %w", err)
		}
		for _, p := range []string{filepath.Dir(path), filepath.Dir(target), target} {
			if err := trusted(p, os.Geteuid()); err != nil {
				return bad("whoever can write there could run code as this user; change its owner, or: chmod go-w "+p, "refused: %w", err)
			}
		}
		if info, err := os.Stat(target); err != nil {
			return bad("", "find it: %w", err)
		} else if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			return bad("chmod +x "+target, "%s is not an executable file", target)
		}
		if sum, ok := l.Checksums[name]; ok {
			if err := verify(target, sum); err != nil {
				return bad("if the file is the one that you want, record its sum under plugins.checksums: sha256sum prints it", "%w", err)
			}
		}
		return target, nil, nil
	}
	known, _ := l.Names() // only to be helpful
	return bad(fmt.Sprintf("put an executable %s%s in one of the directories for connectors; there are: %s", Prefix, name, strings.Join(known, ", ")),
		"no such connector, neither bundled nor in %q", l.Dirs)
}

// trusted refuses what somebody other than root and the user uid could change.
func trusted(path string, uid int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner (%s)", path, info.Mode())
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != 0 && owner != uid {
		return fmt.Errorf("%s belongs to user %d", path, owner)
	}
	return nil
}

// verify checks the file against its checksum. Nobody but root and this user can
// exchange it before it is started, which trusted has established.
func verify(path string, sum [sha256.Size]byte) error {
	secure := goplugin.SecureConfig{Checksum: sum[:], Hash: sha256.New()}
	if ok, err := secure.Check(path); err != nil {
		return fmt.Errorf("verify %s: %w", path, err)
	} else if !ok {
		return fmt.Errorf("%s does not have its recorded checksum %x", path, sum)
	}
	return nil
}
