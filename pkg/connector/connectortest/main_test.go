package connectortest

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/winchdata/winch/pkg/connector/serve"
)

// executable is a copy of this test program under the name by which it is the
// connector toy.
var executable string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "winch-connector-toy" {
		serve.Main(toyDefinition())
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // exams listen all the same
	dir, err := copySelf()
	if err != nil {
		panic(err)
	}
	executable = filepath.Join(dir, "winch-connector-toy")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func copySelf() (dir string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "connectortest"); err != nil {
		return "", err
	}
	from, err := os.Open(self)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "winch-connector-toy"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(to, from); err != nil {
		return "", err
	}
	return dir, to.Close()
}
