package contentsquare

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A project is one site. Its exported fields are those of oauth/me.
type project struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`

	currency string
	segments []object
	goals    []object
	mappings []mapping
	jobs     []job
}

// An object is what the object endpoints list.
type object struct {
	ID int64
	// text is its name and, by kind, its source, type, description or category.
	Name, text string
	created    time.Time
	// changed is when it was last renamed; until then it has its old name.
	changed time.Time
	// from and to are the simulated moments at which it appears and vanishes;
	// zero is always.
	from, to time.Time
}

type mapping struct {
	object
	groups []*pageGroup
}

type pageGroup struct {
	object
	zonings []zoning
}

type zoning struct {
	object
	zones []object
}

func (o *object) present(asOf time.Time) bool {
	return !asOf.Before(o.from) && (o.to.IsZero() || asOf.Before(o.to))
}

func (o *object) name(asOf time.Time) string {
	if asOf.Before(o.changed) {
		return o.Name + " (draft)"
	}
	return o.Name
}

func (o *object) updated(asOf time.Time) time.Time {
	if asOf.Before(o.changed) {
		return o.created
	}
	return o.changed
}

const day = 24 * time.Hour

// makeProjects derives everything from the size: up to three projects, and page
// groups by it.
func (a *API) makeProjects() {
	begin, origin := a.world.Begin, a.world.Origin
	make1 := func(id int64, name, text string) object {
		return object{ID: id, Name: name, text: text, created: begin.Add(-30 * day), changed: begin.Add(-20 * day)}
	}
	for i := range 1 + min(a.world.Size/2, 2) {
		n := int64(i)
		p := &project{
			ID: 42 + n, Name: "Example shop " + []string{"EU", "US", "日本"}[i], currency: []string{"EUR", "USD", "JPY"}[i],
		}
		p.segments = []object{
			make1(11+100*n, "New visitors", "contentsquare"), make1(12+100*n, "From \"social\"", "contentsquare"),
			make1(13+100*n, "Short-lived", "contentsquare"), make1(14+100*n, "Made later", "contentsquare"),
		}
		p.segments[1].changed = origin.Add(day)
		p.segments[2].to = origin.Add(2 * day)
		p.segments[3].from = origin.Add(day)
		p.goals = []object{make1(71+100*n, "Reach cart", "pageview"), make1(72+100*n, "Click help", "click")}
		p.mappings = []mapping{{object: make1(1010+n, "Main mapping", "")}, {object: make1(2020+n, "By team", "Test")}}
		for k := range 2 + min(a.world.Size/5, 4) {
			id := 200_000 + 1000*n + int64(k)
			group := &pageGroup{object: make1(id, fmt.Sprintf("Pages %c", 'A'+rune(k)), []string{"Products", "Checkout"}[k%2])}
			if k%3 != 2 { // every third has no zoning
				z := zoning{object: make1(id+100_000, group.Name+", desktop", "")}
				for j := range int64(2) {
					z.zones = append(z.zones, make1(400_000+10_000*n+10*int64(k)+j, fmt.Sprintf("Zone %d", j+1), ""))
				}
				group.zonings = append(group.zonings, z)
			}
			p.mappings[0].groups = append(p.mappings[0].groups, group)
		}
		p.mappings[1].groups = p.mappings[0].groups[:1:1] // a page group under two mappings
		p.jobs = makeJobs(a, p, n)
		a.projects = append(a.projects, p)
	}
}

// The lists of the object endpoints.

func stamped(objects []object, asOf time.Time, key string, ids string) []map[string]any {
	list := []map[string]any{}
	for i := range objects {
		o := &objects[i]
		if !o.present(asOf) || ids != "" && !slices.Contains(strings.Split(ids, ","), strconv.FormatInt(o.ID, 10)) {
			continue
		}
		list = append(list, map[string]any{
			"id": o.ID, "name": o.name(asOf), key: nilIfEmpty(o.text),
			"createdAt": o.created.Format(vendorTime), "updatedAt": o.updated(asOf).Format(vendorTime),
		})
	}
	return list
}

func nilIfEmpty(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (a *API) serveSegments(r *request) (any, *failure) {
	return stamped(r.project.segments, r.asOf, "source", r.URL.Query().Get("ids")), nil
}

func (a *API) serveGoals(r *request) (any, *failure) {
	return stamped(r.project.goals, r.asOf, "type", ""), nil
}

func (a *API) serveMappings(r *request) (any, *failure) {
	var all []object
	for _, m := range r.project.mappings {
		all = append(all, m.object)
	}
	return stamped(all, r.asOf, "description", r.URL.Query().Get("ids")), nil
}

func notFound(kind string, id int64) *failure {
	return refuse(http.StatusNotFound, "NOT_FOUND", "no %s %d in this project", kind, id)
}

func (a *API) servePageGroups(r *request) (any, *failure) {
	i := slices.IndexFunc(r.project.mappings, func(m mapping) bool { return m.ID == r.ids[0] })
	if i < 0 {
		return nil, notFound("mapping", r.ids[0])
	}
	list := []map[string]any{}
	for _, g := range r.project.mappings[i].groups {
		list = append(list, map[string]any{"id": g.ID, "name": g.Name, "category": g.text})
	}
	return list, nil
}

func (p *project) group(id int64) *pageGroup {
	for _, g := range p.mappings[0].groups { // the others have some of these
		if g.ID == id {
			return g
		}
	}
	return nil
}

func (a *API) serveZonings(r *request) (any, *failure) {
	g := r.project.group(r.ids[0])
	if g == nil || len(g.zonings) == 0 && a.opts.NoZoning404 {
		return nil, notFound("zoning of page group", r.ids[0])
	}
	list := []map[string]any{}
	for _, z := range g.zonings {
		list = append(list, map[string]any{"id": z.ID, "name": z.Name})
	}
	return list, nil
}

func (p *project) zonings() (all []zoning) {
	for _, g := range p.mappings[0].groups {
		all = append(all, g.zonings...)
	}
	return all
}

func (a *API) serveZones(r *request) (any, *failure) {
	all := r.project.zonings()
	i := slices.IndexFunc(all, func(z zoning) bool { return z.ID == r.ids[0] })
	if i < 0 {
		return nil, notFound("zoning", r.ids[0])
	}
	list := []map[string]any{}
	for _, z := range all[i].zones {
		list = append(list, map[string]any{"id": z.ID, "name": z.Name})
	}
	return list, nil
}

func (p *project) zone(id int64) bool {
	for _, z := range p.zonings() {
		if slices.ContainsFunc(z.zones, func(o object) bool { return o.ID == id }) {
			return true
		}
	}
	return false
}
