package fospha

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// Pull reads a stream, or one window of it, of one brand. It keeps no position: a
// window is small enough to be read again, and a re-modelled one must be.
func (s *source) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	st, err := s.stream(req.Stream)
	if err != nil {
		return err
	}
	if len(s.cfg.ClientIDs) > 0 != (req.Partition != "") || req.Partition != "" && !slices.Contains(s.cfg.ClientIDs, req.Partition) {
		return &connector.Error{
			Kind: connector.KindConfig, Op: st.Name, Err: fmt.Errorf("brand %q is none of the source's fospha_client_ids", req.Partition),
		}
	}
	r := &reading{source: s, stream: st, brand: req.Partition, out: out, seed: maphash.MakeSeed()}
	if st.Mode == connector.ModeSnapshot {
		return r.list(ctx, nil)
	}
	if !req.Window.Until.After(req.Window.Since) {
		return &connector.Error{Kind: connector.KindConfig, Op: st.Name, Err: fmt.Errorf("window %s: want one that begins before it ends", req.Window)}
	}
	return r.days(ctx, days(req.Window))
}

// days are the days whose first moment in UTC lies in the window, so that each
// belongs to exactly one window, wherever the windows' bounds lie. In which zone
// Fospha cuts its days is not published.
func days(w connector.Window) []time.Time {
	day := w.Since.UTC().Truncate(24 * time.Hour)
	if day.Before(w.Since) {
		day = day.AddDate(0, 0, 1)
	}
	var list []time.Time
	for ; day.Before(w.Until); day = day.AddDate(0, 0, 1) {
		list = append(list, day)
	}
	return list
}

// A reading is one Pull.
type reading struct {
	*source
	stream stream
	brand  string
	out    connector.Emitter
	seed   maphash.Seed
	seen   map[uint64]uint64 // content of the records of the list under way, by key
}

// days reads a range of days. What is too much for the vendor at once is asked
// for in halves, down to a day; records that came before it was too much come
// again.
func (r *reading) days(ctx context.Context, days []time.Time) error {
	if len(days) == 0 {
		return nil
	}
	err := r.list(ctx, days)
	var tooMuch *tooMuchError
	if !errors.As(err, &tooMuch) {
		return err
	}
	half := (len(days) + 1) / 2
	r.log.InfoContext(ctx, "asked again in halves", "stream", r.stream.Name, "days", len(days), "cause", tooMuch.err.Error())
	if err := r.days(ctx, days[:half]); err != nil {
		return err
	}
	return r.days(ctx, days[half:])
}

// list reads all pages of a range of days, or of a snapshot, whose days are nil.
func (r *reading) list(ctx context.Context, days []time.Time) error {
	st := r.stream
	r.seen = map[uint64]uint64{}
	for walk := st.paging.walk(); ; {
		op := r.op(days)
		if walk.number > 0 {
			op = fmt.Sprintf("%s page %d", op, walk.number+1)
		}
		variables, err := r.variables(days, walk)
		if err != nil {
			return &connector.Error{Kind: connector.KindConfig, Op: op, Err: err, Hint: "check the stream's variables"}
		}
		q := question{
			op: op, query: st.query, operation: st.operation, variables: variables,
			header: st.brand.headers(r.brand), once: len(days) > 1,
		}
		var (
			resp    *rest.Response
			records [][]byte
		)
		q.read = func(answer *rest.Response) (err error) {
			resp = answer
			records, err = st.records.of(answer.Body)
			return err
		}
		if _, err = r.api.ask(ctx, q); resp == nil {
			return err
		}
		if said := readErrors(resp.Body); said != nil {
			if err != nil {
				return r.api.support(&connector.Error{Op: op, Err: r.api.refused(said, "", resp)}, q)
			}
			r.log.WarnContext(ctx, "data kept although the answer has errors", "stream", st.Name, "brand", r.brand, "errors", r.api.scrub(said.text))
		}
		if err != nil {
			return &connector.Error{Err: err, Hint: "check the stream's records_path"}
		}
		for _, raw := range records {
			record, err := r.shape(raw, days)
			if err != nil {
				return &connector.Error{Op: op, Err: err}
			}
			if record == nil {
				continue
			}
			if err := r.out.Record(record); err != nil {
				return err // P3
			}
		}
		last, err := walk.next(resp.Body, records)
		if err != nil {
			return &connector.Error{Op: op, Err: err}
		}
		if last {
			return nil
		}
		resp.Release()
	}
}

// op says in errors what is asked for: performance_daily [BRAND] 2025-01-01..2025-01-07,
// the first day and the last.
func (r *reading) op(days []time.Time) string {
	parts := []string{r.stream.Name}
	if r.brand != "" {
		parts = append(parts, "["+r.brand+"]")
	}
	if len(days) > 0 {
		span := days[0].Format(time.DateOnly)
		if len(days) > 1 {
			span += ".." + days[len(days)-1].Format(time.DateOnly)
		}
		parts = append(parts, span)
	}
	return strings.Join(parts, " ")
}

// variables are those of the settings with brand, days and page in their places.
func (r *reading) variables(days []time.Time, w *walk) (map[string]any, error) {
	st := r.stream
	v := copyVariables(st.variables)
	if st.brand.variable != nil && r.brand != "" {
		if err := setVariable(v, st.brand.variable, r.brand); err != nil {
			return nil, err
		}
	}
	if st.dates != nil {
		end := days[len(days)-1]
		if st.dates.endNextDay {
			end = end.AddDate(0, 0, 1)
		}
		if err := setVariable(v, st.dates.from, days[0].Format(st.dates.format)); err != nil {
			return nil, err
		}
		if err := setVariable(v, st.dates.to, end.Format(st.dates.format)); err != nil {
			return nil, err
		}
	}
	return v, w.set(v)
}

// headers are those that name the brand.
func (p placement) headers(brand string) http.Header {
	if p.header == "" || brand == "" {
		return nil
	}
	return http.Header{p.header: {brand}}
}

// shape makes a record of what the vendor sent, or nil of what does not belong to
// the days asked for.
func (r *reading) shape(raw []byte, days []time.Time) (record []byte, err error) {
	var fields map[string]json.RawMessage
	if raw[0] != '{' || json.Unmarshal(raw, &fields) != nil {
		return nil, badRecord("a record is not an object")
	}
	if r.otherDay(fields, days) {
		return nil, nil
	}
	record = raw
	key := maphash.Hash{}
	key.SetSeed(r.seed)
	for _, name := range r.stream.PrimaryKey {
		if name == clientIDColumn {
			continue
		}
		column, _ := r.stream.Column(name)
		path := column.Source()
		if _, selected := fields[path[0]]; !selected {
			return nil, badRecord("a record has no %s, which the primary key needs", path[0])
		}
		value, ok := lookup(raw, path)
		// A dimension without a value is one of its values; keys have no nulls (P8).
		if !ok && column.Type == connector.TypeText {
			if record, err = setText(record, path, ""); err != nil {
				return nil, err
			}
		}
		_, _ = key.Write(value) // never fails
		_ = key.WriteByte(0)
	}
	content := maphash.Bytes(r.seed, raw)
	if before, twice := r.seen[key.Sum64()]; twice && before != content {
		return nil, &connector.Error{
			Kind: connector.KindBadResponse, Err: errors.New("two records have the same primary key and differ: one would replace the other"),
			Hint: "add to primary_key of the stream every dimension that its query selects",
		}
	}
	r.seen[key.Sum64()] = content
	return rest.AddField(record, clientIDColumn, r.brand)
}

// setText returns the object raw with the text at a path, whose objects are made
// where they are missing or null.
func setText(raw []byte, path []string, text string) ([]byte, error) {
	if len(path) == 1 {
		return rest.AddField(raw, path[0], text)
	}
	inner, ok := lookup(raw, path[:1])
	if !ok {
		inner = json.RawMessage("{}")
	}
	changed, err := setText(inner, path[1:], text)
	if err != nil {
		return nil, err
	}
	return rest.AddField(raw, path[0], json.RawMessage(changed))
}

func badRecord(format string, args ...any) error {
	return &connector.Error{
		Kind: connector.KindBadResponse, Err: fmt.Errorf(format, args...),
		Hint: "check the stream's records_path, and that its query selects what its columns name",
	}
}

// otherDay reports whether a record is of none of the days asked for, as the last
// day's neighbour is where the vendor's ranges include their end. One whose day
// cannot be read belongs to them: the agent will say what is wrong with it.
func (r *reading) otherDay(fields map[string]json.RawMessage, days []time.Time) bool {
	if r.stream.TimeColumn == "" || len(days) == 0 {
		return false
	}
	column, _ := r.stream.Column(r.stream.TimeColumn)
	path := column.Source()
	value := fields[path[0]]
	if len(path) > 1 {
		value, _ = lookup(value, path[1:])
	}
	formats := column.Formats
	if len(formats) == 0 {
		formats = []string{time.DateOnly}
		if column.Type == connector.TypeTimestamp {
			formats = []string{time.RFC3339}
		}
	}
	for _, format := range formats {
		if t, err := time.Parse(format, scalar(value)); err == nil {
			w := connector.Window{Since: days[0], Until: days[len(days)-1].AddDate(0, 0, 1)}
			return !w.Contains(t)
		}
	}
	return false
}
