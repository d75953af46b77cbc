package ledger

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// A stretch is time that is held without a gap and was read whole at one moment.
type stretch struct {
	since, until time.Time
	readAt       time.Time
}

// holdings is what the ledger knows of one partition of a window stream, whatever
// the windows it was read by: coverage is a matter of time, not of a grid.
type holdings struct {
	line []stretch // disjoint, in order; where entries overlap, the freshest read counts
	// runs holds for each stretch where the held time that it lies in ends.
	runs []time.Time
	// unsettled are the entries that are not held, by their windows' beginnings.
	unsettled []*Entry
}

// newHoldings takes the entries of one partition. What was last committed before
// notBefore counts as never tried.
func newHoldings(entries []*Entry, notBefore time.Time) holdings {
	var h holdings
	held := make([]*Entry, 0, len(entries))
	for _, e := range entries {
		switch {
		case e.Slice.Window.IsZero() || e.LastReadAt.Before(notBefore):
		case e.State == Held:
			held = append(held, e)
		default:
			h.unsettled = append(h.unsettled, e)
		}
	}
	bySince := func(a, b *Entry) int { return a.Slice.Window.Since.Compare(b.Slice.Window.Since) }
	if !slices.IsSortedFunc(held, bySince) {
		slices.SortFunc(held, bySince)
	}
	slices.SortStableFunc(h.unsettled, bySince)
	h.line = timeline(held)
	h.runs = make([]time.Time, len(h.line))
	for i := len(h.line) - 1; i >= 0; i-- {
		h.runs[i] = h.line[i].until
		if i+1 < len(h.line) && h.line[i+1].since.Equal(h.line[i].until) {
			h.runs[i] = h.runs[i+1]
		}
	}
	return h
}

// timeline returns the stretches of entries that are ordered by the beginnings of
// their windows.
func timeline(held []*Entry) []stretch {
	line := make([]stretch, 0, len(held))
	var (
		open freshest
		at   time.Time
	)
	for next := 0; next < len(held) || len(open) > 0; {
		if len(open) == 0 {
			w := held[next].Slice.Window
			if next+1 == len(held) || !held[next+1].Slice.Window.Since.Before(w.Until) { // alone, as most are
				line = append(line, stretch{w.Since, w.Until, held[next].LastReadAt})
				next++
				continue
			}
			at = w.Since
		}
		for ; next < len(held) && !held[next].Slice.Window.Since.After(at); next++ {
			heap.Push(&open, held[next])
		}
		for len(open) > 0 && !open[0].Slice.Window.Until.After(at) {
			heap.Pop(&open)
		}
		if len(open) == 0 {
			continue
		}
		until := open[0].Slice.Window.Until
		if next < len(held) && held[next].Slice.Window.Since.Before(until) {
			until = held[next].Slice.Window.Since
		}
		line = append(line, stretch{at, until, open[0].LastReadAt})
		at = until
	}
	return line
}

// freshest is a heap of entries, the last read on top.
type freshest []*Entry

func (f freshest) Len() int           { return len(f) }
func (f freshest) Less(i, j int) bool { return f[i].LastReadAt.After(f[j].LastReadAt) }
func (f freshest) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *freshest) Push(e any)        { *f = append(*f, e.(*Entry)) }
func (f *freshest) Pop() any {
	last := len(*f) - 1
	e := (*f)[last]
	*f = (*f)[:last]
	return e
}

// drop forgets what lies before a moment, so that the next questions are answered
// from the front. Moments never go back.
func (h *holdings) drop(before time.Time) {
	n := 0
	for n < len(h.line) && !h.line[n].until.After(before) {
		n++
	}
	h.line, h.runs = h.line[n:], h.runs[n:]
	n = 0
	for n < len(h.unsettled) && !h.unsettled[n].Slice.Window.Until.After(before) {
		n++
	}
	h.unsettled = h.unsettled[n:]
}

// settledUntil returns the end of the time from since on that is held and in which
// no entry is failed or partial; since itself if that is empty. drop(since) comes
// before.
func (h *holdings) settledUntil(since time.Time) time.Time {
	if len(h.line) == 0 || h.line[0].since.After(since) {
		return since
	}
	until := h.runs[0]
	if len(h.unsettled) > 0 && h.unsettled[0].Slice.Window.Since.Before(until) {
		until = h.unsettled[0].Slice.Window.Since
	}
	if until.Before(since) {
		return since
	}
	return until
}

// oldestRead returns when the part of a window that was not read for longest was
// read, and whether the whole window is held. drop(since) comes before.
func (h *holdings) oldestRead(since, until time.Time) (oldest time.Time, held bool) {
	for _, s := range h.line {
		if s.since.After(since) {
			return time.Time{}, false
		}
		if oldest.IsZero() || s.readAt.Before(oldest) {
			oldest = s.readAt
		}
		if since = s.until; !since.Before(until) {
			return oldest, true
		}
	}
	return time.Time{}, false
}

// exact returns the entry of exactly this window that is failed or partial, or
// nil.
func (h *holdings) exact(since, until time.Time) *Entry {
	for _, e := range h.unsettled {
		w := e.Slice.Window
		if w.Since.After(since) {
			return nil
		}
		if w.Since.Equal(since) && w.Until.Equal(until) {
			return e
		}
	}
	return nil
}

// ByStream groups the entries of one source by stream. Entries of one stream that
// lie together, as the stores return them, are not copied.
func ByStream(entries []Entry) map[string][]Entry {
	groups := map[string][]Entry{}
	for len(entries) > 0 {
		name, n := entries[0].Slice.Stream, 1
		for n < len(entries) && entries[n].Slice.Stream == name {
			n++
		}
		if known, ok := groups[name]; ok {
			groups[name] = append(known, entries[:n]...)
		} else {
			groups[name] = entries[:n:n]
		}
		entries = entries[n:]
	}
	return groups
}

// byPartition groups the entries of the wanted stream.
func (w Want) byPartition(entries []Entry) map[string][]*Entry {
	groups := map[string][]*Entry{}
	for i := 0; i < len(entries); {
		first, n := &entries[i].Slice, i+1
		for n < len(entries) && apartFromWindow(first, &entries[n].Slice) {
			n++
		}
		if first.Source == w.Source && first.Stream == w.Stream.Name {
			group := slices.Grow(groups[first.Partition], n-i)
			for ; i < n; i++ {
				group = append(group, &entries[i])
			}
			groups[first.Partition] = group
		}
		i = n
	}
	return groups
}

// apartFromWindow reports whether two slices are the same apart from their windows.
func apartFromWindow(a, b *Slice) bool {
	return a.Partition == b.Partition && a.Stream == b.Stream && a.Source == b.Source
}

// partitions are those of the stream; one without a name if it has none.
func (w Want) partitions() []string {
	if len(w.Partitions) == 0 {
		return []string{""}
	}
	return w.Partitions
}

// sort orders slices by time, then by partition.
func (o Order) sort(due []Due) {
	slices.SortStableFunc(due, func(a, b Due) int {
		byTime := a.Slice.Window.Until.Compare(b.Slice.Window.Until)
		if o != OldestFirst {
			byTime = -byTime
		}
		return cmp.Or(byTime, cmp.Compare(a.Slice.Partition, b.Slice.Partition))
	})
}
