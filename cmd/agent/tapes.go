package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector/cassette"
)

// tapes are the folders into which a pull writes what is said: everything, or
// what was said last before a failure. At most one is set.
type tapes struct {
	record, keepFailed string
	started            string // part of the names of what is kept
}

// cassettePath is where a cassette lies in a folder. Connectors have another
// working directory, so it is absolute.
func cassettePath(dir, name string) (string, error) {
	return filepath.Abs(filepath.Join(dir, name+".jsonl"))
}

// prepare makes the folder, and refuses one with a recording that would be gone
// on with.
func (t *tapes) prepare(sources []*config.Source) error {
	t.started = time.Now().UTC().Format("20060102T150405.000Z")
	for flag, dir := range map[string]string{"--record": t.record, "--keep-failed": t.keepFailed} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return usagef("a folder that can be written", "%s: %w", flag, err)
		}
		for _, src := range sources {
			files, err := t.of(src.Name)
			if err != nil {
				return err
			}
			if _, err := os.Stat(files.Record); files.Record != "" && !errors.Is(err, fs.ErrNotExist) {
				return usagef("another folder, or remove the file", "%s: there is a cassette %s already", flag, files.Record)
			}
		}
	}
	return nil
}

// of says where the exchanges of a source go.
func (t *tapes) of(source string) (files cassette.Files, err error) {
	if t.record != "" {
		files.Record, err = cassettePath(t.record, source)
	}
	if t.keepFailed != "" && err == nil {
		files.KeepFailed, err = cassettePath(t.keepFailed, source+"-"+t.started)
	}
	return files, err
}

// keptTapes returns by source the files of runs that did not succeed. Those of
// runs that did, in spite of a slice that failed at first, are removed.
func (a *app) keptTapes(t tapes, results []pull.Result) map[string]string {
	kept := map[string]string{}
	for _, res := range results {
		files, err := t.of(res.Name)
		if err != nil || files.KeepFailed == "" {
			continue
		}
		if res.Status == sink.Succeeded {
			err = os.Remove(files.KeepFailed)
		} else if _, err = os.Stat(files.KeepFailed); err == nil {
			kept[res.Name] = files.KeepFailed
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn("what was kept of a run is not in order", "source", res.Name, "error", err)
		}
	}
	return kept
}
