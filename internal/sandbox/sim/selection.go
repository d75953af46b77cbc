package sim

// A Selection is the events of a part of a timeline that match, in their order,
// as pages ask for them. Nothing is held: what is needed is made again.
type Selection struct {
	Line *Timeline
	// From and To are the places of the part, To not in it.
	From, To int
	// Settled is the place up to which every event matches, so that it need not
	// be looked at.
	Settled int
	// Match reports whether an event at or behind Settled belongs.
	Match func(Event) bool

	total int
	known bool
}

// Total is how many events match.
func (s *Selection) Total() int {
	if s.known {
		return s.total
	}
	settled := min(max(s.Settled, s.From), s.To)
	s.total, s.known = settled-s.From, true
	walk := s.Line.From(settled)
	for range s.To - settled {
		if s.Match(walk.Next()) {
			s.total++
		}
	}
	return s.total
}

// Each visits the matching events from the x-th up to, not including, the y-th.
func (s *Selection) Each(x, y int, visit func(Event)) {
	settled := min(max(s.Settled, s.From), s.To)
	place := min(s.From+x, settled)
	skip := x - (place - s.From)
	walk := s.Line.From(place)
	for left := y - x; left > 0 && place < s.To; place++ {
		e := walk.Next()
		switch {
		case place >= settled && !s.Match(e):
		case skip > 0:
			skip--
		default:
			visit(e)
			left--
		}
	}
}

// Newest visits what Each would if the events were ordered by falling start.
func (s *Selection) Newest(x, y int, visit func(Event)) {
	total := s.Total()
	events := make([]Event, 0, y-x)
	s.Each(total-y, total-x, func(e Event) { events = append(events, e) })
	for i := len(events) - 1; i >= 0; i-- {
		visit(events[i])
	}
}
