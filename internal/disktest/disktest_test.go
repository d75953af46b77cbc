package disktest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAFullDiskTakesNothingUntilSpaceIsFreed(t *testing.T) {
	t.Parallel()
	Run(t, 1<<20, func(d *Disk) {
		file := filepath.Join(d.Dir(), "file")
		for range 2 {
			d.Leave(t, 0)
			if err := os.WriteFile(file, make([]byte, 4096), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("a full disk: %v", err)
			}
			d.Leave(t, 8192)
			if err := os.WriteFile(file, make([]byte, 8192), 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Remove(file); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestADiskIsThereForWhoEntersIt(t *testing.T) {
	t.Parallel()
	d := New(t, 1<<20)
	file := filepath.Join(d.Dir(), "file")
	write := func() error {
		cmd := exec.CommandContext(t.Context(), "cp", "/bin/sh", "file")
		cmd.Dir = d.Dir()
		d.Enter(cmd)
		return cmd.Run()
	}
	d.Leave(t, 4096)
	if err := write(); err == nil {
		t.Error("what does not fit was written")
	}
	d.Leave(t, 512<<10)
	if err := write(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("seen from outside: %v", err)
	}
}
