package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A Declaration is what a stream was declared and configured as when it was read.
type Declaration struct {
	Stream     string
	Mode       connector.Mode
	PrimaryKey []string
	Columns    []DeclaredColumn // of the table: without those that are never stored
	// Slice, TimeZone and Since are empty for a stream without windows.
	Slice    connector.Span
	TimeZone string
	Since    time.Time // zero if none is configured
}

// A DeclaredColumn is a column as its stream declares it.
type DeclaredColumn struct {
	Name string         `json:"name"`
	Type connector.Type `json:"type"`
}

// Declaration returns what the stream is wanted as.
func (w Want) Declaration() Declaration {
	d := Declaration{Stream: w.Stream.Name, Mode: w.Stream.Mode, PrimaryKey: w.Stream.PrimaryKey, Columns: []DeclaredColumn{}}
	for _, c := range w.Stream.Columns {
		if !c.Secret {
			d.Columns = append(d.Columns, DeclaredColumn{c.Name, c.Type})
		}
	}
	if d.Mode == connector.ModeWindow {
		d.Slice, d.TimeZone, d.Since = w.Slice, location(w.Location).String(), w.Since.UTC()
	}
	return d
}

// Equal reports whether both are the same.
func (d Declaration) Equal(e Declaration) bool {
	return d.Stream == e.Stream && d.Mode == e.Mode && slices.Equal(d.PrimaryKey, e.PrimaryKey) && slices.Equal(d.Columns, e.Columns) &&
		d.Slice == e.Slice && d.TimeZone == e.TimeZone && d.Since.Equal(e.Since)
}

// A Change is something in which a stream differs from what it was read as last.
type Change struct {
	// What changed: mode, primary_key, column NAME, slice, timezone or since.
	What string `json:"what"`
	// Was and Is are empty where there was or is nothing.
	Was string `json:"was"`
	Is  string `json:"is"`
	// Means says what becomes of what is held, and of what is read from now on.
	Means string `json:"means"`
	// Command reads again or starts over what the change does not reach by itself;
	// empty if there is nothing such.
	Command string `json:"command,omitempty"`
	// Refused says that the stream is not read until the command was run or the
	// change was taken back. Whether a column can be changed is for the sink to say,
	// which knows the table.
	Refused bool `json:"refused"`
}

// String returns the change as errors and logs tell it.
func (c Change) String() string {
	switch {
	case c.Was == "":
		return fmt.Sprintf("%s is new (%s): %s", c.What, c.Is, c.Means)
	case c.Is == "":
		return fmt.Sprintf("%s (%s) is gone: %s", c.What, c.Was, c.Means)
	default:
		return fmt.Sprintf("%s was %s and is %s: %s", c.What, c.Was, c.Is, c.Means)
	}
}

// Refused returns the first change by which the stream is not to be read.
func Refused(changes []Change) (Change, bool) {
	i := slices.IndexFunc(changes, func(c Change) bool { return c.Refused })
	if i < 0 {
		return Change{}, false
	}
	return changes[i], true
}

// Changes compares what is wanted with what the stream was read as last. The
// entries are the stream's: from them come the windows that a command names.
func Changes(was Declaration, want Want, entries []Entry) []Change {
	is := want.Declaration()
	c := comparing{want: want, name: want.Source + "/" + want.Stream.Name}
	c.held, c.any = committed(want, entries)
	startOver := "winch reset " + c.name
	if was.Mode != is.Mode {
		return []Change{{
			What: "mode", Was: string(was.Mode), Is: string(is.Mode), Command: startOver, Refused: true,
			Means: "what is held was read in another way and cannot be gone on with: the stream starts over, or the change is taken back",
		}}
	}
	if a, b := slices.Sorted(slices.Values(was.PrimaryKey)), slices.Sorted(slices.Values(is.PrimaryKey)); !slices.Equal(a, b) {
		c.add(Change{
			What: "primary_key", Was: strings.Join(was.PrimaryKey, ","), Is: strings.Join(is.PrimaryKey, ","), Command: startOver, Refused: true,
			Means: "rows at rest are told apart by the old key: the stream starts over, or the change is taken back",
		})
	}
	c.columns(was.Columns, is.Columns)
	if is.Mode == connector.ModeWindow {
		c.windows(was, is)
	}
	return c.all
}

type comparing struct {
	want Want
	name string
	held connector.Window // from the first that is held to the end of the last
	any  bool             // something is held
	all  []Change
}

func (c *comparing) add(change Change) { c.all = append(c.all, change) }

func (c *comparing) columns(was, is []DeclaredColumn) {
	types := map[string]connector.Type{}
	for _, column := range was {
		types[column.Name] = column.Type
	}
	for _, column := range is {
		before, known := types[column.Name]
		delete(types, column.Name)
		change := Change{What: "column " + column.Name, Was: string(before), Is: string(column.Type)}
		switch {
		case known && before == column.Type:
			continue
		case known:
			c.retyped(&change, before, column.Type)
		default:
			c.added(&change)
		}
		c.add(change)
	}
	for _, column := range was {
		if _, gone := types[column.Name]; gone {
			c.add(Change{
				What: "column " + column.Name, Was: string(column.Type),
				Means: "the column stays and is null in rows that are written from now on; what the vendor still sends is kept in _extra",
			})
		}
	}
}

func (c *comparing) added(change *Change) {
	switch {
	case c.want.Schema == SchemaFreeze:
		change.Means = "the stream fails, as its schema is frozen: set schema: evolve, or take the change back"
	case c.want.Schema == SchemaQuarantine:
		change.Means = "the table is left as it is (schema: quarantine): its values are kept in _extra"
	case c.want.Stream.Mode == connector.ModeSnapshot:
		change.Means = "the next pull fills it"
	default:
		change.Means, change.Command = "rows at rest are null in it until they are read again", c.again()
	}
}

// retyped says what becomes of a column of another type.
func (c *comparing) retyped(change *Change, before, now connector.Type) {
	switch widens := before == connector.TypeBigint && now == connector.TypeNumeric; {
	case before == connector.TypeNumeric && now == connector.TypeBigint:
		change.Means = "the table stays as wide as it is and takes both"
	case c.want.Schema == SchemaFreeze:
		change.Means = "the stream fails, as its schema is frozen: set schema: evolve, or take the change back"
	case c.want.Schema == SchemaQuarantine:
		change.Means = "the table is left as it is (schema: quarantine): records with values that it does not take are set aside"
	case widens:
		change.Means = "the table is widened and keeps its values; each row counts as updated when it is read again"
	default:
		change.Command = "winch reset " + c.name
		change.Means = "the stream fails while the table has the old type: it starts over, the type is changed by hand, or the change is taken back"
	}
}

// windows compares what says which windows are wanted. None of it makes what is
// held worth less: held is a matter of time, not of slices.
func (c *comparing) windows(was, is Declaration) {
	if was.Slice != is.Slice {
		c.add(Change{
			What: "slice", Was: was.Slice.String(), Is: is.Slice.String(), Command: c.again(),
			Means: "what is held stays held and is not read again for that; what is missing or restated is read in the new slices",
		})
	}
	if was.TimeZone != is.TimeZone {
		c.add(Change{
			What: "timezone", Was: was.TimeZone, Is: is.TimeZone, Command: c.again(),
			Means: "windows begin at other moments; what is held stays held, and a window that it covers in part only is read",
		})
	}
	if was.Since.Equal(is.Since) {
		return
	}
	change := Change{What: "since", Was: c.moment(was.Since), Is: c.moment(is.Since)}
	switch {
	case is.Since.IsZero():
		change.Means = "what a pull has begun with stays wanted"
	case c.any && is.Since.After(c.held.Since):
		change.Means = "what is held before it stays, and is not read again"
	default:
		change.Means, change.Command = "what is missing since then is read by the next pull", "winch pull "+c.want.Source+" --stream "+c.want.Stream.Name
	}
	c.add(change)
}

// again is the command that reads all that is held again; empty if nothing is.
func (c *comparing) again() string {
	stream := " --stream " + c.want.Stream.Name
	switch {
	case c.want.Stream.Mode == connector.ModeCursor:
		return "winch pull " + c.want.Source + stream + " --from-beginning"
	case !c.any:
		return ""
	}
	until := c.moment(c.held.Until)
	if day := c.held.Until.In(location(c.want.Location)); until == day.Format(time.DateOnly) {
		until = day.AddDate(0, 0, -1).Format(time.DateOnly) // the last day is included
	}
	return "winch backfill " + c.want.Source + " --from " + c.moment(c.held.Since) + " --to " + until + stream + " --force"
}

// moment is a moment as a day, where one begins then.
func (c *comparing) moment(t time.Time) string {
	if t.IsZero() {
		return "not set"
	}
	t = t.In(location(c.want.Location))
	if year, month, day := t.Date(); startOfDay(year, month, day, t.Location()).Equal(t) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}

// committed is the time from the first window of a stream that was committed to the
// end of the last.
func committed(want Want, entries []Entry) (all connector.Window, some bool) {
	for _, e := range entries {
		w := e.Slice.Window
		if e.Slice.Source != want.Source || e.Slice.Stream != want.Stream.Name || e.LastReadAt.IsZero() || w.IsZero() {
			continue
		}
		if !some || w.Since.Before(all.Since) {
			all.Since = w.Since
		}
		if !some || w.Until.After(all.Until) {
			all.Until = w.Until
		}
		some = true
	}
	return all, some
}
