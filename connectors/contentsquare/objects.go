package contentsquare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// A level is a kind of objects and what it hangs from.
type level struct {
	name string
	// parent is the kind it is listed by, and column where its id lands; empty
	// for what belongs to the project.
	parent, column string
}

var levels = map[string]level{
	"segments":    {name: "segments"},
	"goals":       {name: "goals"},
	"mappings":    {name: "mappings"},
	"page_groups": {"page_groups", "mappings", "mapping_id"},
	"zonings":     {"zonings", "page_groups", "page_group_id"},
	"zones":       {"zones", "zonings", "zoning_id"},
}

// pullObjects reads a kind of objects, by each of its parents.
func pullObjects(ctx context.Context, r *pulling) error {
	l := levels[r.st.resource]
	if l.parent == "" {
		return r.list(ctx, l, 0, newStamp(r.id))
	}
	parents, err := r.ids(ctx, l.parent)
	if err != nil {
		return err
	}
	return r.each(ctx, parents, func(parent int64) error {
		return r.list(ctx, l, parent, newStamp(r.id).with(l.column, parent))
	})
}

// list emits the objects of one parent.
func (r *pulling) list(ctx context.Context, l level, parent int64, mark stamp) error {
	records, err := r.objects(ctx, r.op(), l, parent)
	if err != nil {
		return err
	}
	for _, raw := range records {
		if err := r.out.Record(mark.on(nil, raw)); err != nil {
			return err
		}
	}
	return nil
}

// objects asks for the objects of one parent. There is no paging and no filter by
// time: an answer is the whole list.
func (p *project) objects(ctx context.Context, op string, l level, parent int64) ([][]byte, error) {
	id := ""
	if l.parent != "" {
		id = strconv.FormatInt(parent, 10)
		op += " " + l.column + " " + id
	}
	records, err := p.records(ctx, op, p.cfg.path(l.name, id), nil, "payload")
	if err != nil {
		return nil, err
	}
	for _, raw := range records {
		if !isObject(raw) {
			return nil, at(op, badResponse("a record is not an object"))
		}
	}
	return records, nil
}

// each reads what belongs to each parent. One that the vendor does not know (404)
// has vanished since it was listed, or has nothing: a page group without a zoning
// gives an empty list or an error. If that goes for all of them, it is the path
// that does not exist: an empty snapshot would mark everything as deleted.
func (r *pulling) each(ctx context.Context, parents []int64, read func(parent int64) error) error {
	var notFound error
	found := 0
	for _, parent := range parents {
		err := read(parent)
		switch {
		case err == nil:
			found++
		case errors.Is(err, errNotFound):
			notFound = err
			r.s.log.InfoContext(ctx, "left out: the vendor does not know it", "stream", r.st.Name, "project", r.id, "id", parent)
		default:
			return err
		}
	}
	if found == 0 && notFound != nil {
		return notFound
	}
	return nil
}

// ids returns the ids of a kind of objects that the settings choose, each once
// and in the vendor's order. The pulls of one run share one walk.
func (r *pulling) ids(ctx context.Context, name string) ([]int64, error) {
	select {
	case r.walk <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-r.walk }()
	return r.walkIDs(ctx, name)
}

// walkIDs does so while it holds the walk.
func (r *pulling) walkIDs(ctx context.Context, name string) ([]int64, error) {
	if held, ok := r.known[name]; ok && !held.asOf.IsZero() && held.asOf.Equal(r.req.AsOf) {
		return held.ids, nil
	}
	l := levels[name]
	parents := []int64{0}
	if l.parent != "" {
		var err error
		if parents, err = r.walkIDs(ctx, l.parent); err != nil {
			return nil, err
		}
	}
	chosen := map[string]choice{"mappings": r.cfg.Mappings, "page_groups": r.cfg.PageGroups, "zones": r.cfg.Zones}[name]
	var ids []int64
	seen := map[int64]bool{}
	err := r.each(ctx, parents, func(parent int64) error {
		op := r.op("list " + name)
		records, err := r.objects(ctx, op, l, parent)
		if err != nil {
			return err
		}
		for _, raw := range records {
			var object struct {
				ID objectID `json:"id"`
			}
			if err := json.Unmarshal(raw, &object); err != nil || object.ID == 0 {
				return at(op, badResponse("an object without an id"))
			}
			// A page group may stand under two mappings.
			if id := int64(object.ID); !seen[id] && chosen.has(id) {
				seen[id] = true
				ids = append(ids, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.known[name] = knownIDs{r.req.AsOf, slices.Clip(ids)}
	return ids, nil
}

// pullFields reads the exportable fields of both scopes.
func pullFields(ctx context.Context, r *pulling) error {
	for _, scope := range []string{scopeSessions, scopeViews} {
		op := r.op(scope)
		records, err := r.records(ctx, op, r.cfg.path(r.st.resource, ""), map[string][]string{"scope": {scope}}, "payload")
		if err != nil {
			return err
		}
		if err := r.placed(op, records, newStamp(r.id).with("scope", scope)); err != nil {
			return err
		}
	}
	return nil
}

// pullPlaced reads a list whose records are known by their place.
func pullPlaced(ctx context.Context, r *pulling) error {
	query := map[string][]string{}
	if r.st.Name == "dynamic_var_keys" {
		to := r.req.AsOf.UTC()
		query["from"] = []string{to.AddDate(0, 0, -r.cfg.DynamicVarsDays).Format(dateOnly)}
		query["to"] = []string{to.Format(dateOnly)}
	}
	records, err := r.records(ctx, r.op(), r.cfg.path(r.st.resource, ""), query, "payload")
	if err != nil {
		return err
	}
	return r.placed(r.op(), records, newStamp(r.id))
}

// placed emits the records of an answer with their place in it. A bare text
// becomes the field value.
func (r *pulling) placed(op string, records [][]byte, mark stamp) error {
	for i, raw := range records {
		if !isObject(raw) {
			if raw[0] == '[' || raw[0] == 'n' {
				return at(op, badResponse("a record is neither an object nor a text"))
			}
			raw = fmt.Appendf(nil, `{"value":%s}`, raw)
		}
		if r.st.Name == "exportable_fields" {
			if err := r.out.Record(mark.on(nil, raw)); err != nil {
				return err
			}
			continue
		}
		if err := r.out.Record(mark.with("ordinal", i).on(nil, raw)); err != nil {
			return err
		}
	}
	return nil
}
