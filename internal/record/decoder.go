package record

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/winchdata/winch/pkg/connector"
)

// A node is a key of a record that a column reads or that lies on the way to one.
type node struct {
	id      int
	parent  *node
	name    name  // its key
	columns []int // the columns that read here
	json    bool  // one of them is a json column, which holds all that is below
	secret  bool  // a Secret column reads here
	hides   bool  // a Secret column reads somewhere below
	sole    *plan // of the column that reads here, if no other does
	members []*node
	index   map[string]int // of members, by key with its quotes
}

// A plan is what decoding needs to know about a column.
type plan struct {
	name     string
	kind     Kind
	want     string // for errors
	formats  []format
	nullable bool // "" is null
	personal bool
	identity bool // part of the primary key
}

// NewDecoder returns a decoder for the records of a stream.
//
// Several columns may read the same path, and a json column may read an object
// that other columns read into: each gets its value. A column that reads what a
// Secret column hides is an error, as are a primary key column that does not
// exist and a format that does not hold a whole date.
func NewDecoder(stream connector.Stream) (*Decoder, error) {
	d := &Decoder{seed: maphash.MakeSeed()}
	d.root = d.newNode(nil, "")
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("stream %s: %w", stream.Name, fmt.Errorf(format, args...)))
	}
	for _, c := range stream.Columns {
		at := d.node(c.Source())
		if c.Secret {
			at.secret = true
			for n := at.parent; n != nil; n = n.parent {
				n.hides = true
			}
			continue
		}
		formats, err := newFormats(c)
		if err != nil {
			bad("column %q: %w", c.Name, err)
		}
		want, ok := wants[c.Type]
		if !ok {
			bad("column %q: unknown type %q", c.Name, c.Type)
		}
		for i, f := range formats {
			if i > 0 {
				want += " or "
			}
			want += f.layout
		}
		at.json = at.json || c.Type == connector.TypeJSON
		at.columns = append(at.columns, len(d.columns))
		d.columns = append(d.columns, c)
		d.tags = append(d.tags, xxh3.HashString(c.Name+" "+string(c.Type)))
		d.plans = append(d.plans, plan{
			name:     c.Name,
			kind:     KindOf(c.Type),
			want:     want,
			formats:  formats,
			nullable: c.Type != connector.TypeText || c.EmptyIsNull,
			personal: c.Personal,
		})
	}
	if d.nodes > 1<<16 {
		bad("%d keys are declared, the limit is 65536", d.nodes)
	}
	if len(stream.PrimaryKey) == 0 {
		bad("primary key is empty")
	}
	for _, name := range stream.PrimaryKey {
		i := slices.IndexFunc(d.columns, func(c connector.Column) bool { return c.Name == name })
		switch {
		case i < 0:
			bad("primary key column %q is not among the stored columns", name)
			continue
		case d.columns[i].Type == connector.TypeJSON:
			bad("primary key column %q: json cannot identify a row", name)
		}
		d.key = append(d.key, i)
		d.plans[i].identity = true
	}
	for _, c := range d.columns {
		for n := d.node(c.Source()); n != nil; n = n.parent {
			if n.secret {
				bad("column %q reads what is marked secret", c.Name)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d.settle(d.root)
	return d, nil
}

// Columns returns the columns that are stored: those declared, in order, without
// the Secret ones. The caller must not change them.
func (d *Decoder) Columns() []connector.Column { return d.columns }

// KeyColumns returns where the primary key's columns are in Columns, in the
// order of the key. The caller must not change it.
func (d *Decoder) KeyColumns() []int { return d.key }

// settle fills in sole, once all columns are known.
func (d *Decoder) settle(n *node) {
	if len(n.columns) == 1 {
		n.sole = &d.plans[n.columns[0]]
	}
	for _, m := range n.members {
		d.settle(m)
	}
}

func (d *Decoder) newNode(parent *node, key string) *node {
	n := &node{id: d.nodes, parent: parent, name: newName(string(appendQuoted(nil, []byte(key)))), index: map[string]int{}}
	d.nodes++
	return n
}

// node returns the node at path, making it if there is none.
func (d *Decoder) node(path []string) *node {
	n := d.root
	for _, key := range path {
		quoted := string(appendQuoted(nil, []byte(key)))
		i, ok := n.index[quoted]
		if !ok {
			i = len(n.members)
			n.index[quoted] = i
			n.members = append(n.members, d.newNode(n, key))
		}
		n = n.members[i]
	}
	return n
}
