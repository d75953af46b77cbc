package pgtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/disktest"
)

// Disk returns the disk that holds the server's data. It needs Options.Disk.
func (s *Server) Disk() *disktest.Disk { return s.disk }

// UseLog writes to the server's log (pg_wal) until it is about to need another file,
// of 16 MiB. If there is no space for that file then, the server ends.
func (s *Server) UseLog(t testing.TB) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	const write = `SELECT file_offset > 15 << 20 AND file_name = (SELECT max(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')
FROM pg_walfile_name_offset(pg_logical_emit_message(false, 'pgtest', repeat('x', 256 << 10)))`
	for used := false; !used; {
		if err := conn.QueryRow(t.Context(), write).Scan(&used); err != nil {
			t.Fatalf("pgtest: %v", err)
		}
	}
}

// mount gives the server the disk that its options ask for.
func (s *Server) mount() (err error) {
	dir := filepath.Join(s.dir, "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := s.programs.own(dir); err != nil {
		return err
	}
	s.disk, err = disktest.Mount(dir, s.options.Disk, s.programs.run)
	return err
}

// copyCommand copies a data directory to where the server wants it.
func (s *Server) copyCommand(data string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), "cp", "-Rp", data, s.dataDir())
	if s.disk != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.programs.run}
		s.disk.Enter(cmd)
	}
	return cmd
}

// enterDisk makes the server run where its disk is, which takes everybody for root:
// PostgreSQL refuses root, so it gets another name.
func (s *Server) enterDisk(cmd *exec.Cmd) {
	renamed := exec.CommandContext(context.Background(), "unshare", "--user", "--map-user=1000", "--map-group=1000", cmd.Path)
	cmd.Args = slices.Concat(renamed.Args, cmd.Args[1:])
	cmd.Path, cmd.Err = renamed.Path, renamed.Err
	s.disk.Enter(cmd)
}
