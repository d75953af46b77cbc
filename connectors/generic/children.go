package generic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// A position says what of a stream is held whose parents are read by windows:
// the parents that begin before Until are known, and the records of those in Open
// and Due are to be read, by their keys: of Open once more, because they were not
// final when they were read, of Due because their turn has not come.
type position struct {
	Version int       `json:"version"`
	Until   time.Time `json:"until,omitzero"`
	Open    []string  `json:"open,omitempty"`
	Due     []string  `json:"due,omitempty"`
	// Began is the moment of the first of the pulls that have failed since the
	// last one that did not. What is in Open has been read since then.
	Began time.Time `json:"began,omitzero"`
}

const (
	positionVersion = 1
	// maxPosition leaves room below the 64 KiB of a cursor.
	maxPosition = 60 << 10
	// perCheckpoint is how many parents are read between two checkpoints.
	perCheckpoint = 50
	// recent is for how long what failed pulls have read need not be read again.
	recent = time.Hour
)

func readPosition(cur connector.Cursor) (position, error) {
	if len(cur) == 0 {
		return position{Version: positionVersion}, nil
	}
	var pos position
	if err := cur.Decode(&pos); err != nil { // P7
		return pos, err
	}
	if pos.Version != positionVersion {
		return pos, &connector.Error{
			Kind: connector.KindConfig, Op: "read cursor", Err: fmt.Errorf("version %d: want %d", pos.Version, positionVersion),
			Hint: "the position was written by another version of this connector; read the stream again from its beginning",
		}
	}
	return pos, nil
}

// A child is a parent whose records are to be read.
type child struct {
	key     string
	created time.Time // zero: known from an earlier pull
}

// children is one pull of such a stream.
type children struct {
	*source
	st    *stream
	out   connector.Emitter
	open  []child // read and not final
	seen  map[string]bool
	unit  int       // reads since the last checkpoint
	began time.Time // as in position
	// refused says that the emitter wants nothing more.
	refused bool
}

// pullOpen reads first the records that were not final when they were last read,
// by their keys, and then those of the parents that have come since.
func (s *source) pullOpen(ctx context.Context, st *stream, req connector.Request, out connector.Emitter) error {
	if req.AsOf.IsZero() {
		return &connector.Error{Kind: connector.KindConfig, Op: st.Name, Err: errors.New("the request has no moment up to which to read")}
	}
	pos, err := readPosition(req.Cursor)
	if err != nil {
		return err
	}
	c := &children{source: s, st: st, out: out, seen: map[string]bool{}, began: pos.Began}
	age := req.AsOf.Sub(pos.Began)
	goesOn := !pos.Began.IsZero() && age >= 0 && age < recent
	again := childrenOf(pos.Due)
	if goesOn {
		c.open = childrenOf(pos.Open)
		for _, key := range pos.Open {
			c.seen[key] = true
		}
	} else {
		c.began = req.AsOf
		again = slices.Concat(childrenOf(pos.Open), again)
	}
	if err := c.readAll(ctx, again, pos.Until); err != nil {
		return err
	}
	since := pos.Until
	switch {
	case since.IsZero():
		since = req.Since
	case !goesOn:
		since = st.parent.lookback.Before(since)
	}
	for _, w := range spans(since, req.AsOf, st.parent.walk) {
		parents, err := c.parents(ctx, w)
		if err != nil {
			return c.failed(ctx, err, pos.Until, nil)
		}
		if err := c.readAll(ctx, parents, w.Until); err != nil {
			return err
		}
		pos.Until = w.Until
		if w.Until.Before(req.AsOf) {
			if err := c.checkpoint(pos.Until, nil); err != nil {
				return err
			}
		}
	}
	c.began = time.Time{}
	return c.checkpoint(pos.Until, nil) // P2
}

// childrenOf are parents that are known from earlier pulls.
func childrenOf(keys []string) []child {
	all := make([]child, len(keys))
	for i, key := range keys {
		all[i] = child{key: key}
	}
	return all
}

// spans cuts the time from since to until; a zero since is one span without a
// begin.
func spans(since, until time.Time, walk connector.Span) []connector.Window {
	if since.IsZero() {
		return []connector.Window{{Until: until}}
	}
	var all []connector.Window
	for since.Before(until) {
		end := walk.After(since)
		if end.After(until) {
			end = until
		}
		all = append(all, connector.Window{Since: since, Until: end})
		since = end
	}
	return all
}

// parents lists the parents of a window. The list is read to its end before the
// first child, so that it does not change under a long walk.
func (c *children) parents(ctx context.Context, w connector.Window) ([]child, error) {
	var all []child
	p := c.st.parent
	err := c.read(ctx, p.stream, c.cfg.scope(), w, func(raw []byte) error {
		key := scalarText(rest.Field(raw, p.column.Source()...))
		if key == "" {
			return at(p.Name, badResponse("a record without %s", p.column.Name))
		}
		created, ok := timeOf(raw, p.window)
		if !ok || created.Before(w.Since) {
			created = w.Since
		}
		all = append(all, child{key, created})
		return nil
	})
	slices.SortStableFunc(all, func(a, b child) int { return a.created.Compare(b.created) })
	return all, err
}

// readAll reads the records of those parents that this pull has not read yet.
// Every so often, and when the vendor fails, it declares what has been read, so that
// the next pull goes on where this one ends; until is where that lists parents.
func (c *children) readAll(ctx context.Context, parents []child, until time.Time) error {
	for i, p := range parents {
		if c.seen[p.key] {
			continue
		}
		c.seen[p.key] = true
		open, err := c.readOne(ctx, p.key)
		if err != nil {
			return c.failed(ctx, err, until, parents[i:])
		}
		if open {
			c.open = append(c.open, p)
		}
		if c.unit++; c.unit >= perCheckpoint {
			if err := c.checkpoint(until, parents[i+1:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed ends a pull with err, and with a checkpoint if it was the vendor that
// failed: neither the emitter (P3) nor the caller (P4).
func (c *children) failed(ctx context.Context, err error, until time.Time, due []child) error {
	if c.refused || ctx.Err() != nil {
		return err
	}
	if refused := c.checkpoint(until, due); refused != nil {
		return refused
	}
	return err
}

// readOne reads the records of one parent and reports whether they may still
// change. A parent that the vendor no longer knows has none.
func (c *children) readOne(ctx context.Context, key string) (open bool, err error) {
	values := c.cfg.scope()
	values["parent."+c.st.parent.column.Name] = key
	err = c.list(ctx, c.st, values, connector.Window{}, func(raw []byte) error {
		record, err := c.shape(c.st, values, connector.Window{}, raw)
		if err != nil {
			return at(c.st.Name, err)
		}
		still, err := c.isOpen(raw)
		if err != nil {
			return at(c.st.Name, err)
		}
		open = open || still
		err = c.out.Record(record)
		c.refused = err != nil
		return err
	})
	if errors.Is(err, errSkip) {
		c.log.InfoContext(ctx, "left out: the vendor has nothing there", "stream", c.st.Name, "key", key)
		return false, nil
	}
	return open, err
}

func (c *children) isOpen(raw []byte) (bool, error) {
	if c.st.parent.open == nil {
		return false, nil
	}
	var record map[string]any // numbers as conditions compare them
	if err := json.Unmarshal(raw, &record); err != nil {
		return false, badResponse("%w", errNotObject)
	}
	open, err := holds(c.st.parent.open, record)
	if err != nil {
		return false, &connector.Error{Kind: connector.KindConfig, Op: "parent.open", Err: err}
	}
	return open, nil
}

// checkpoint declares what has been read; due are parents whose turn has not
// come. Where their keys do not all fit, the next pull lists the latest of them
// again: until goes back to the first that does not fit.
func (c *children) checkpoint(until time.Time, due []child) error {
	c.unit = 0
	type owed struct {
		child
		due bool
	}
	var left []owed
	held := map[string]bool{}
	for _, p := range c.open {
		left = append(left, owed{p, false})
		held[p.key] = true
	}
	for _, p := range due {
		if !held[p.key] {
			left = append(left, owed{p, true})
			held[p.key] = true
		}
	}
	slices.SortStableFunc(left, func(a, b owed) int { return a.created.Compare(b.created) })
	pos := position{Version: positionVersion, Until: until, Began: c.began}
	size := 0
	for _, p := range left {
		quoted, err := json.Marshal(p.key)
		if err != nil {
			return err
		}
		if size += len(quoted) + 1; size > maxPosition {
			if p.created.Before(until) {
				pos.Until = p.created
			}
			break
		}
		if p.due {
			pos.Due = append(pos.Due, p.key)
		} else {
			pos.Open = append(pos.Open, p.key)
		}
	}
	cursor, err := connector.NewCursor(pos)
	if err != nil {
		return err
	}
	return c.out.Checkpoint(cursor)
}
