package contentsquare

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
)

// Streams are the names that Truth knows.
var Streams = []string{
	"projects", "segments", "goals", "mappings", "page_groups", "zonings", "zones",
	"site_metrics", "page_group_metrics", "page_group_web_vitals", "zone_metrics",
	"export_jobs", "export_runs", "export_files", "exportable_fields", "custom_vars", "dynamic_var_keys",
	SessionsExport, ViewsExport,
}

// Truth yields the records that must land for a stream from all projects, as of
// the simulated now at the call, by the columns of the tables. Values are int64,
// string, time.Time, nil, json.RawMessage for json, and json.Number for what is
// exact.
//
// Metrics are those of the days that begin in [since, until), where a zero time
// is no bound, and that have ended; for the device all, all visitors, goal 0 and
// the 75th quantile. Export data are those of the source's jobs, of runs whose
// files can still be had; other streams are whole.
//
// An unknown stream is a programmer's error and panics.
func (a *API) Truth(stream string, since, until time.Time) iter.Seq[map[string]any] {
	if !slices.Contains(Streams, stream) {
		panic(fmt.Sprintf("sandbox: contentsquare has no stream %q", stream))
	}
	asOf := a.world.AsOf()
	return func(yield func(map[string]any) bool) {
		for i, p := range a.projects {
			if stream == "projects" {
				if !yield(map[string]any{"id": p.ID, "name": p.Name}) {
					return
				}
				continue
			}
			if slices.Contains(a.opts.Refused, i) || i > 0 && (stream == SessionsExport || stream == ViewsExport) {
				continue
			}
			for row := range a.truth(p, stream, since, until, asOf) {
				row["project_id"] = p.ID
				if !yield(row) {
					return
				}
			}
		}
	}
}

type row = map[string]any

func (a *API) truth(p *project, stream string, since, until, asOf time.Time) iter.Seq[row] {
	switch stream {
	case "segments":
		return landedObjects(p.segments, asOf, "source")
	case "goals":
		return landedObjects(p.goals, asOf, "type")
	case "mappings":
		var all []object
		for _, m := range p.mappings {
			all = append(all, m.object)
		}
		return landedObjects(all, asOf, "description")
	case "page_groups", "zonings", "zones":
		return slices.Values(p.children(stream))
	case "site_metrics":
		return a.landedMetrics(p, "site", "", []int64{0}, siteMetrics, since, until, asOf)
	case "page_group_metrics":
		return a.landedMetrics(p, "page-group", "page_group_id", p.groupIDs(), pageGroupMetrics, since, until, asOf)
	case "page_group_web_vitals":
		return a.landedMetrics(p, "web-vitals", "page_group_id", p.groupIDs(), webVitals, since, until, asOf)
	case "zone_metrics":
		return a.landedMetrics(p, "zone", "zone_id", p.zoneIDs(), zoneMetrics, since, until, asOf)
	case "exportable_fields":
		var all []row
		for scope, names := range exportable {
			for _, name := range names {
				all = append(all, row{"scope": scope, "name": name})
			}
		}
		return slices.Values(all)
	case "custom_vars":
		return slices.Values([]row{{"ordinal": int64(0)}, {"ordinal": int64(1)}})
	case "dynamic_var_keys":
		return slices.Values([]row{{"ordinal": int64(0), "value": "AB_test"}, {"ordinal": int64(1), "value": "basket"}})
	default:
		return a.landedExports(p, stream, asOf)
	}
}

func landedObjects(all []object, asOf time.Time, key string) iter.Seq[row] {
	return func(yield func(row) bool) {
		for i := range all {
			o := &all[i]
			if o.present(asOf) && !yield(row{
				"id": o.ID, "name": o.name(asOf), key: nilIfEmpty(o.text), "created_at": o.created, "updated_at": o.updated(asOf),
			}) {
				return
			}
		}
	}
}

func (p *project) children(stream string) (all []row) {
	for _, m := range p.mappings {
		for _, g := range m.groups {
			if stream == "page_groups" {
				all = append(all, row{"mapping_id": m.ID, "id": g.ID, "name": g.Name, "category": g.text})
			}
		}
	}
	for _, g := range p.mappings[0].groups {
		for _, z := range g.zonings {
			if stream == "zonings" {
				all = append(all, row{"page_group_id": g.ID, "id": z.ID, "name": z.Name})
			}
			for _, o := range z.zones {
				if stream == "zones" {
					all = append(all, row{"zoning_id": z.ID, "id": o.ID, "name": o.Name})
				}
			}
		}
	}
	return all
}

func (p *project) groupIDs() (ids []int64) {
	for _, g := range p.mappings[0].groups {
		ids = append(ids, g.ID)
	}
	return ids
}

func (p *project) zoneIDs() (ids []int64) {
	for _, z := range p.zonings() {
		for _, o := range z.zones {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

func (a *API) landedMetrics(p *project, kind, column string, ids []int64, metrics []metric, since, until, asOf time.Time) iter.Seq[row] {
	begin := a.world.Begin
	if since.After(begin) {
		begin = since.UTC().Truncate(day)
		if begin.Before(since) {
			begin = begin.Add(day)
		}
	}
	end := asOf.Truncate(day)
	if oldest := asOf.Add(-time.Duration(a.opts.Retention) * day).Truncate(day); begin.Before(oldest) {
		begin = oldest
	}
	return func(yield func(row) bool) {
		for _, id := range ids {
			for d := begin; d.Before(end) && (until.IsZero() || d.Before(until)); d = d.Add(day) {
				times := map[string]int64{}
				for i, one := range metrics {
					v, null, ok := a.value(measure{project: p, kind: kind, id: id, device: "all"}, i, one, d, asOf)
					if !ok {
						continue
					}
					r := row{
						"metric_name": one.name, "period_start": d, "grain": "day", "device": "all", "segment_ids": "", "goal_id": int64(0),
						"ordinal": times[one.name], "value": json.Number(number(v)), "currency": p.currency,
					}
					times[one.name]++
					if null {
						r["value"] = nil
					}
					if column != "" {
						r[column] = id
					}
					if kind == "web-vitals" {
						r["metric_type"], r["quantile"] = "quantile", int64(75)
					}
					if !yield(r) {
						return
					}
				}
			}
		}
	}
}

func (a *API) landedExports(p *project, stream string, asOf time.Time) iter.Seq[row] {
	var all []row
	for i := range p.jobs {
		j := &p.jobs[i]
		job := strconv.FormatInt(j.id, 10)
		if stream == "export_jobs" {
			frequency, _ := json.Marshal(j.frequency) // a text: never fails
			all = append(all, row{
				"job_id": job, "name": j.name, "format": j.format, "scope": j.scope, "frequency": json.RawMessage(frequency),
				"state": j.state, "device_id": nil, "device_label": j.label,
			})
			continue
		}
		for _, one := range a.runs(j, asOf) {
			id := strconv.FormatInt(one.id, 10)
			switch {
			case stream == "export_runs":
				all = append(all, row{
					"job_id": job, "job_run_id": id, "start_date": one.start, "state": one.state(asOf),
					"completion_rate": json.Number(fmt.Sprint(one.json(asOf)["completionRate"])),
				})
			case !one.kept(asOf):
			case stream == "export_files":
				for part := range one.parts {
					all = append(all, row{"job_id": job, "job_run_id": id, "part_id": strconv.Itoa(part)})
				}
			case stream == SessionsExport && i == 0 || stream == ViewsExport && i == 1:
				for part := range one.parts {
					for n := range one.rows(part) {
						r := a.landedRow(&one, part, n)
						r["job_id"], r["job_run_id"], r["part_id"], r["line_number"] = job, id, strconv.Itoa(part), int64(n+1)
						all = append(all, r)
					}
				}
			}
		}
	}
	return slices.Values(all)
}

func (a *API) landedRow(one *run, part, n int) row {
	r := row{}
	if one.job.format == "CSV" {
		for i, value := range a.view(one, part, n) {
			r[viewFields[i]] = value
		}
		return r
	}
	s := a.session(one, part, n)
	name, _ := json.Marshal([]string{s.eventName}) // texts: never fails
	at, _ := json.Marshal([]string{s.eventTime})   // as above
	return row{
		"user_id": json.Number(strconv.FormatUint(s.user, 10)), "user_id_unhashed": s.unhash, "session_id": strconv.FormatUint(s.session, 10),
		"session_date": s.begin.Format(time.DateOnly), "session_time": s.begin.Format(time.DateTime),
		"country_code": s.country, "city": s.city, "device_id": "2", "session_number_of_views": strconv.Itoa(s.views),
		"session_duration_msec": strconv.Itoa(s.length), "session_transactions_revenue_cents": strconv.Itoa(s.revenue),
		"app_events_event_name": json.RawMessage(name), "app_events_event_time": json.RawMessage(at),
	}
}
