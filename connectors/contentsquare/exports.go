package contentsquare

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

const (
	// fileLife is how long the files of a run are kept after they were made
	// (Limits).
	fileLife = 7 * day
	// reach is how far back the start of a run may lie whose files may still be
	// there: how long a run takes is not published.
	reach = fileLife + 2*day
	// memory is for how long a run is remembered as loaded; longer than reach.
	memory = reach + 3*day
	// stateSuccess is the state of a run whose files are ready (Enumerations).
	stateSuccess = "SUCCESS"
)

// pages reads a list of the export API, page by page from 1. No total is known:
// a page that is not full is the last one. An answer larger than a page is the
// whole list. A page that begins as an earlier one did is an error: the list has
// no end.
func (r *pulling) pages(ctx context.Context, op, path string, query url.Values, each func(page [][]byte) (more bool, err error)) error {
	size := r.cfg.PageSize
	paged := rest.PageNumber{
		Param: "page", First: 1, SizeParam: "limit", Size: size,
		Records: recordsAt("payload"),
		Last: func(_ *rest.Response, _, records int) (last, known bool, err error) {
			return true, records > size, nil
		},
	}
	begun := map[uint64]bool{}
	seed := maphash.MakeSeed()
	for page, err := range r.rest.Pages(ctx, rest.Request{Op: op, Path: path, Query: r.params(query)}, paged) {
		if err != nil {
			return err
		}
		if len(page.Records) > 0 {
			first := maphash.Bytes(seed, page.Records[0])
			if begun[first] {
				return at(op, badResponse("page %d begins as an earlier page did: the list has no end", page.Number))
			}
			begun[first] = true
		}
		if more, err := each(page.Records); err != nil || !more {
			return err
		}
	}
	return nil
}

// jobs hands over each export job with its id.
func (r *pulling) jobs(ctx context.Context, each func(id string, raw []byte) error) error {
	op := r.op("list jobs")
	return r.pages(ctx, op, r.cfg.path("export_jobs", ""), nil, func(page [][]byte) (bool, error) {
		for _, raw := range page {
			var job struct {
				ID json.RawMessage `json:"jobId"`
			}
			if err := json.Unmarshal(raw, &job); err != nil || scalar(job.ID) == "" {
				return false, at(op, badResponse("a job without a jobId"))
			}
			if err := each(scalar(job.ID), raw); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

func pullJobs(ctx context.Context, r *pulling) error {
	mark := newStamp(r.id)
	return r.jobs(ctx, func(_ string, raw []byte) error { return r.out.Record(mark.on(nil, raw)) })
}

// jobIDs returns the ids of all jobs.
func (r *pulling) jobIDs(ctx context.Context) (ids []string, err error) {
	err = r.jobs(ctx, func(id string, _ []byte) error {
		ids = append(ids, id)
		return nil
	})
	return ids, err
}

// A run is one execution of a job.
type run struct {
	id    string
	start time.Time // zero where the vendor tells none
	state string
	raw   []byte
}

// runs returns the runs of a job that start at or after oldest, and those that do
// not tell when.
func (r *pulling) runs(ctx context.Context, job string, oldest time.Time) ([]run, error) {
	op := r.op("job", job, "list runs")
	var all []run
	falling, last := true, time.Time{}
	query := url.Values{"order": {"DESC"}}
	err := r.pages(ctx, op, r.cfg.path("export_runs", job), query, func(page [][]byte) (bool, error) {
		for _, raw := range page {
			var fields struct {
				ID    json.RawMessage `json:"jobRunId"`
				Start string          `json:"startDate"`
				State string          `json:"state"`
			}
			if err := json.Unmarshal(raw, &fields); err != nil || scalar(fields.ID) == "" {
				return false, at(op, badResponse("a run without a jobRunId"))
			}
			one := run{id: scalar(fields.ID), state: fields.State, raw: raw}
			if start, err := time.Parse(time.RFC3339, fields.Start); err == nil {
				one.start = start.UTC()
			}
			falling = falling && !one.start.IsZero() && (last.IsZero() || !one.start.After(last))
			last = one.start
			if one.start.IsZero() || !one.start.Before(oldest) {
				all = append(all, one)
			}
		}
		// The newest come first, as asked for and if it was heeded: behind one
		// that is too old there are older ones alone.
		return !falling || !last.Before(oldest), nil
	})
	return all, err
}

// A through is the cursor of lists that are read again for as long as a run may
// still change.
type through struct {
	Version int       `json:"v"`
	Through time.Time `json:"through"`
}

// readThrough decodes the cursor; at the beginning it is the zero value.
func (r *pulling) readThrough() (through, error) {
	var c through
	if len(r.req.Cursor) == 0 {
		return through{Version: 1}, nil
	}
	if err := r.req.Cursor.Decode(&c); err != nil {
		return through{}, at(r.op(), err) // P7
	}
	return c, version(r.op(), c.Version)
}

func version(op string, v int) error {
	if v == 1 {
		return nil
	}
	return &connector.Error{
		Kind: connector.KindConfig, Op: op, Err: fmt.Errorf("stored position of version %d: want 1", v),
		Hint: "it was made by another version of the connector; use that one, or read the stream again from its beginning",
	}
}

func (r *pulling) checkpoint(v any) error {
	c, err := connector.NewCursor(v)
	if err != nil {
		return err
	}
	return r.out.Checkpoint(c)
}

// pullRuns reads the runs of all jobs: at the beginning all, later those that
// started since shortly before the last time.
func pullRuns(ctx context.Context, r *pulling) error {
	c, err := r.readThrough()
	if err != nil {
		return err
	}
	oldest := r.req.Since
	if !c.Through.IsZero() {
		oldest = c.Through.Add(-reach)
	}
	jobs, err := r.jobIDs(ctx)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		mark := newStamp(r.id).with("job_id", job)
		runs, err := r.runs(ctx, job, oldest)
		if err != nil {
			return err
		}
		for _, one := range runs {
			if err := r.out.Record(mark.on(nil, one.raw)); err != nil {
				return err
			}
		}
	}
	return r.checkpoint(through{1, r.req.AsOf})
}

// pullFiles reads which files there are for the runs of all jobs. What was read
// stays at rest when the vendor deletes the file.
func pullFiles(ctx context.Context, r *pulling) error {
	if _, err := r.readThrough(); err != nil {
		return err
	}
	jobs, err := r.jobIDs(ctx)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		runs, err := r.runs(ctx, job, r.req.AsOf.Add(-reach))
		if err != nil {
			return err
		}
		for _, one := range runs {
			if one.state != stateSuccess {
				continue
			}
			files, _, err := r.filesOf(ctx, job, one.id)
			if err != nil {
				return err
			}
			mark := newStamp(r.id).with("job_id", job).with("job_run_id", one.id)
			for _, f := range files {
				raw, err := rest.DropField(f.raw, "url") // P10: the address opens the file
				if err != nil {
					return at(r.op("job", job, "run", one.id), err)
				}
				if err := r.out.Record(mark.with("partId", f.part).on(nil, raw)); err != nil {
					return err
				}
			}
		}
	}
	return r.checkpoint(through{1, r.req.AsOf})
}

// A file is one part of the output of a run.
type file struct {
	part string
	url  string // pre-signed: never logged, never stored
	raw  []byte
}

// filesOf returns the files of a run in the order of their parts; known is false
// where the answer has no list of them.
func (r *pulling) filesOf(ctx context.Context, job, runID string) (files []file, known bool, err error) {
	op := r.op("job", job, "run", runID)
	answer, err := r.get(ctx, op, r.cfg.path("export_runs", job)+"/"+url.PathEscape(runID), nil)
	if err != nil {
		return nil, false, err
	}
	var detail struct {
		Payload struct {
			Files []json.RawMessage `json:"files"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(answer.Body, &detail); err != nil {
		return nil, false, at(op, badResponse("the details of the run are not the JSON expected"))
	}
	for i, raw := range detail.Payload.Files {
		var f struct {
			Part json.RawMessage `json:"partId"`
			URL  string          `json:"url"`
		}
		if err := json.Unmarshal(raw, &f); err != nil || f.URL == "" {
			return nil, false, at(op, badResponse("a file without a url"))
		}
		files = append(files, file{cmp.Or(scalar(f.Part), strconv.Itoa(i)), f.URL, raw})
	}
	slices.SortStableFunc(files, func(a, b file) int { return byNumber(a.part, b.part) })
	return files, detail.Payload.Files != nil, nil
}

// byNumber orders ids that are numbers by their value, and others behind them.
func byNumber(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

// loaded is the cursor of export data: which runs have been read. A position
// alone would miss a run that started early and ended late.
type loaded struct {
	Version int         `json:"v"`
	From    time.Time   `json:"from"` // runs that started before are not wanted
	Runs    []loadedRun `json:"runs"`
}

type loadedRun struct {
	ID    string    `json:"id"`
	Start time.Time `json:"start"`
}

func (c loaded) has(id string) bool {
	return slices.ContainsFunc(c.Runs, func(r loadedRun) bool { return r.ID == id })
}

// pullExport reads the files of the job's successful runs that have not been read
// yet, run by run in the order of their start, with a checkpoint after each.
func pullExport(ctx context.Context, r *pulling) error {
	c := loaded{Version: 1, From: r.req.Since}
	if len(r.req.Cursor) > 0 {
		c = loaded{}
		if err := r.req.Cursor.Decode(&c); err != nil {
			return at(r.op(), err) // P7
		}
		if err := version(r.op(), c.Version); err != nil {
			return err
		}
	}
	job, oldest := string(r.st.export.Job), r.req.AsOf.Add(-reach)
	if n := len(c.Runs); n > 0 && c.Runs[n-1].Start.Before(oldest) {
		r.s.log.WarnContext(ctx, "runs may have been missed: files are kept for 7 days; make a job with the frequency once for the days that are missing",
			"stream", r.st.Name, "last_run", c.Runs[n-1].Start)
	}
	all, err := r.runs(ctx, job, oldest)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(one run) bool {
		return one.state != stateSuccess || c.has(one.id) || !one.start.IsZero() && one.start.Before(c.From)
	})
	slices.SortStableFunc(all, func(a, b run) int {
		return cmp.Or(a.start.Compare(b.start), byNumber(a.id, b.id))
	})
	forget := r.req.AsOf.Add(-memory)
	gone := slog.LevelWarn
	if len(r.req.Cursor) == 0 {
		gone = slog.LevelInfo // at the beginning nothing was missed
	}
	for _, one := range all {
		if err := r.load(ctx, job, one, gone); err != nil {
			return err
		}
		c.Runs = append(c.Runs, loadedRun{one.id, cmp.Or(one.start, r.req.AsOf)})
		c.Runs = slices.DeleteFunc(c.Runs, func(one loadedRun) bool { return one.Start.Before(forget) })
		if err := r.checkpoint(c); err != nil { // P1: all of the run has been emitted
			return err
		}
	}
	return nil
}

// load emits the rows of a run's files. Each file's address is asked for right
// before it is used, since it may not live long. A run whose files are no longer
// kept is told at that level and left behind.
func (r *pulling) load(ctx context.Context, job string, one run, level slog.Level) error {
	expired := !one.start.IsZero() && one.start.Before(r.req.AsOf.Add(-fileLife))
	gone := func() {
		r.s.log.Log(ctx, level, "run skipped: its files are no longer kept", "stream", r.st.Name, "job", job, "run", one.id, "start", one.start)
	}
	for i := 0; ; i++ {
		files, known, err := r.filesOf(ctx, job, one.id)
		if err != nil {
			return err
		}
		if !known && !expired {
			return at(r.op("job", job, "run", one.id), badResponse("the run is a success and has no list of files"))
		}
		if !known || expired && len(files) == 0 {
			gone()
			return nil
		}
		if i >= len(files) {
			return nil
		}
		f := files[i]
		op := r.op("job", job, "run", one.id, "part", f.part)
		err = r.loadFile(ctx, newStamp(r.id).with("job_id", job).with("job_run_id", one.id).with("part_id", f.part), f)
		switch {
		case err == nil:
		case expired && isGone(err):
			gone()
			return nil
		default:
			return at(op, err)
		}
	}
}

// loadFile streams one file to the emitter.
func (r *pulling) loadFile(ctx context.Context, mark stamp, f file) error {
	body, err := r.s.files.open(ctx, r.project, f.url)
	if err != nil {
		return err
	}
	defer body.Close()
	var nested []string
	for _, c := range r.st.Columns {
		nested = append(nested, c.Source()[0])
	}
	var record, suffix []byte
	return rows(body, func(n int, raw []byte) error {
		if raw, err = flatten(raw, nested); err != nil {
			return err
		}
		suffix = append(append(suffix[:0], mark...), `,"line_number":`...)
		suffix = strconv.AppendInt(suffix, int64(n), 10)
		record = stamp(suffix).on(record[:0], raw)
		return r.out.Record(record)
	})
}
