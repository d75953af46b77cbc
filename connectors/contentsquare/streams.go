package contentsquare

import (
	"context"
	"slices"

	"github.com/winchdata/winch/pkg/connector"
)

// A stream is what the agent knows of it, and how it is read.
type stream struct {
	connector.Stream
	// resource is the name of its path in the settings.
	resource string
	// pull reads it for one project; nil for the list of projects.
	pull func(context.Context, *pulling) error
	// metrics is what a metric stream measures.
	metrics metrics
	// export is the setting that made the stream, of export data.
	export exportConfig
}

// projectID is the column that parts the projects.
const projectID = "project_id"

// streamNames are all streams in the order of streams, without the export data
// that the settings name.
var streamNames = []string{
	"projects", "segments", "goals", "mappings", "page_groups", "zonings", "zones",
	"site_metrics", "page_group_metrics", "page_group_web_vitals", "zone_metrics",
	"export_jobs", "export_runs", "export_files", "exportable_fields", "custom_vars", "dynamic_var_keys",
}

// streams returns the streams that the settings make: those that the scopes
// cover.
func streams(cfg config) []stream {
	all := []stream{projects()}
	if slices.Contains(cfg.Scopes, scopeMetrics) {
		all = append(
			all, segmentsStream(), goals(), mappings(), pageGroups(), zonings(), zones(),
			siteMetrics(), pageGroupMetrics(), webVitals(), zoneMetrics(),
		)
	}
	if slices.Contains(cfg.Scopes, scopeExport) {
		all = append(all, exportJobs(), exportRuns(), exportFiles(), exportableFields(), customVars(), dynamicVarKeys())
		for _, e := range cfg.Exports {
			all = append(all, stream{Stream: exportStream(e), pull: pullExport, export: e, resource: "export_runs"})
		}
	}
	return all
}

func projects() stream {
	return stream{Stream: connector.Stream{
		Name:        "projects",
		Description: "Projects that the credentials see.",
		DocsURL:     docs + "metrics/authentication/",
		Mode:        connector.ModeSnapshot,
		PrimaryKey:  []string{"id"},
		Columns:     from(publicClients, number("id", "Id"), text("name", "Name")),
	}}
}

// object makes a snapshot of objects of a project.
func object(name, description string, key []string, columns ...[]connector.Column) stream {
	return stream{
		Stream: connector.Stream{
			Name:            name,
			Description:     description,
			DocsURL:         docs + "metrics/objects-endpoints/",
			Mode:            connector.ModeSnapshot,
			PrimaryKey:      append([]string{projectID}, key...),
			PartitionColumn: projectID,
			Columns:         slices.Concat(append([][]connector.Column{projectColumn()}, columns...)...),
		},
		resource: name,
		pull:     pullObjects,
	}
}

func segmentsStream() stream {
	return object("segments", "Segments of visitors.", []string{"id"},
		from(docObjects, number("id", "Id"), text("name", "Name"), text("source", "Origin, as in contentsquare")), dates())
}

func goals() stream {
	return object("goals", "Goals.", []string{"id"},
		from(docObjects, number("id", "Id"), text("name", "Name"), text("type", "Type, as in pageview")), dates())
}

func mappings() stream {
	return object("mappings", "Mappings: ways to group the site's pages.", []string{"id"},
		from(docObjects, number("id", "Id"), text("name", "Name"), text("description", "Description")), dates())
}

func pageGroups() stream {
	return object("page_groups", "Page groups of each mapping.", []string{"mapping_id", "id"},
		from(byRequest, number("mapping_id", "Mapping")),
		from(publicClients, number("id", "Id"), text("name", "Name"), text("category", "Category")))
}

func zonings() stream {
	return object("zonings", "Zonings of each page group.", []string{"id"},
		from(byRequest, number("page_group_id", "Page group")),
		from(publicClients, number("id", "Id"), text("name", "Name")))
}

func zones() stream {
	return object("zones", "Zones of each zoning.", []string{"id"},
		from(byRequest, number("zoning_id", "Zoning")),
		from(publicClients, number("id", "Id"), text("name", "Name")))
}

// measured makes a window stream of metrics: one row per value, day, device,
// segments and goal.
//
// It has no time column: history older than the retention cannot be read again,
// so rows at rest are never deleted because the API no longer has them.
func measured(name, description, page string, m metrics) stream {
	key := []string{projectID}
	columns := projectColumn()
	if m.column != "" {
		key = append(key, m.column)
		columns = append(columns, from(byRequest, number(m.column, "What was measured"))...)
	}
	key = append(key, "metric_name", "period_start", "grain", "device", "segment_ids", "goal_id")
	if m.vitals {
		key = append(key, "metric_type", "quantile")
	}
	columns = append(columns, from(docSite,
		under("name", text("metric_name", "Metric, as the vendor names it")),
		under("startDate", moment("period_start", "Start of the period")),
		under("endDate", moment("period_end", "End of the period")),
	)...)
	columns = append(columns, from(byRequest,
		text("grain", "day"),
		text("device", "all, desktop, mobile or tablet"),
		text("segment_ids", "Segments whose intersection was measured, joined by commas; empty is all visitors"),
		number("goal_id", "Goal of the conversion metrics; 0 is ecommerce"),
	)...)
	if m.vitals {
		columns = append(columns, from(bySettings,
			text("metric_type", "quantile or average"),
			number("quantile", "Quantile in percent; 0 for an average"),
		)...)
	}
	columns = append(columns, from(byAnswer, number("ordinal", "0, or a count where the vendor gives a metric twice"))...)
	columns = append(columns, from(docSite,
		amount("value", "Value; rates are percentages"),
		text("currency", "Currency of the project, also where the metric is no money"),
	)...)
	return stream{
		Stream: connector.Stream{
			Name:            name,
			Description:     description,
			DocsURL:         docs + "metrics/" + page,
			Mode:            connector.ModeWindow,
			PrimaryKey:      append(key, "ordinal"),
			PartitionColumn: projectID,
			Columns:         columns,
			Slice:           connector.Days(1),
			Lookback:        connector.Days(3),
			Lag:             connector.Span{Clock: settling},
		},
		resource: name,
		metrics:  m,
		pull:     pullMetrics,
	}
}

func siteMetrics() stream {
	return measured("site_metrics", "Metrics of the whole site by day.", "site-metrics-endpoints/", metrics{})
}

func pageGroupMetrics() stream {
	return measured("page_group_metrics", "Metrics of page groups by day.", "page-group-metrics-endpoints/",
		metrics{of: "page_groups", column: "page_group_id"})
}

func webVitals() stream {
	return measured("page_group_web_vitals", "Web vitals of page groups by day; times in seconds.", "page-group-metrics-endpoints/",
		metrics{of: "page_groups", column: "page_group_id", vitals: true})
}

// zoneMetrics costs a request per zone, so that it is read when it is asked for.
func zoneMetrics() stream {
	st := measured("zone_metrics", "Metrics of zones by day.", "zone-metrics-endpoints-web/", metrics{of: "zones", column: "zone_id"})
	st.Optional = true
	return st
}

// exported makes a stream of what the export API lists.
func exported(name, description string, mode connector.Mode, key []string, pull func(context.Context, *pulling) error, columns ...[]connector.Column) stream {
	return stream{
		Stream: connector.Stream{
			Name:            name,
			Description:     description,
			DocsURL:         docs + "export/endpoints-reference/",
			Mode:            mode,
			PrimaryKey:      append([]string{projectID}, key...),
			PartitionColumn: projectID,
			Columns:         slices.Concat(append([][]connector.Column{projectColumn()}, columns...)...),
		},
		resource: name,
		pull:     pull,
	}
}

func exportJobs() stream {
	return exported("export_jobs", "Export jobs.", connector.ModeSnapshot, []string{"job_id"}, pullJobs,
		from(docEnums,
			under("jobId", text("job_id", "Id")),
			text("name", "Name"),
			text("format", "CSV or JSONL"),
			text("scope", "sessions or views"),
			blob("frequency", "once, daily or hourly; as text or object"),
			text("state", "ACTIVE, COMPLETED, COMPUTING, DELETED or SUSPENDED"),
			under("deviceId", text("device_id", "Device")),
			under("deviceLabel", text("device_label", "Device")),
		))
}

func exportRuns() stream {
	st := exported("export_runs", "Runs of export jobs.", connector.ModeCursor, []string{"job_id", "job_run_id"}, pullRuns,
		from(byRequest, text("job_id", "Job")),
		from(publicClients,
			under("jobRunId", text("job_run_id", "Id")),
			under("startDate", moment("start_date", "Start")),
			under("completionRate", amount("completion_rate", "Progress")),
		),
		from(docEnums, text("state", "CREATED, RUNNABLE, RUNNING, SUCCESS or FAILURE")))
	return st
}

func exportFiles() stream {
	st := exported("export_files", "Files of successful runs, while they are kept; without their addresses.",
		connector.ModeCursor, []string{"job_id", "job_run_id", "part_id"}, pullFiles,
		from(byRequest, text("job_id", "Job"), text("job_run_id", "Run")),
		from(publicClients,
			under("partId", text("part_id", "Part")),
			secret(text("url", "Address, which opens the file to whoever has it; never pulled")),
		))
	st.resource = "export_runs"
	return st
}

func exportableFields() stream {
	st := exported("exportable_fields", "Fields that an export job can have, by scope.", connector.ModeSnapshot,
		[]string{"scope", "name"}, pullFields,
		from(byRequest, text("scope", "sessions or views")),
		from(docEndpoints, text("name", "Name")))
	st.Optional = true
	return st
}

// The members of a custom variable and of a dynamic variable's key are unknown;
// they land in _extra, by their place in the list.

func customVars() stream {
	st := exported("custom_vars", "Custom variables of the project.", connector.ModeSnapshot, []string{"ordinal"}, pullPlaced,
		from(byAnswer, number("ordinal", "Place in the list, from 0")))
	st.Optional = true
	return st
}

func dynamicVarKeys() stream {
	st := exported("dynamic_var_keys", "Keys of dynamic variables that were seen lately.", connector.ModeSnapshot, []string{"ordinal"}, pullPlaced,
		from(byAnswer, number("ordinal", "Place in the list, from 0"), text("value", "The key, where the list holds bare texts")))
	st.Optional = true
	return st
}

// exportStream declares the data of an export job. Rows are known by their place
// in the files unless the settings name what identifies them.
func exportStream(e exportConfig) connector.Stream {
	columns := slices.Concat(
		projectColumn(),
		from(byRequest,
			text("job_id", "Job"),
			text("job_run_id", "Run"),
			text("part_id", "Part of the run's files"),
			number("line_number", "Place in the part, from 1"),
		),
	)
	given := map[string]bool{}
	for _, c := range e.Columns {
		given[c.Name] = true
	}
	known := map[string]func() []connector.Column{scopeSessions: sessionColumns, scopeViews: viewColumns}[e.Scope]
	if known != nil {
		for _, c := range known() {
			if !given[c.Name] {
				columns = append(columns, c)
			}
		}
	}
	for _, c := range e.Columns {
		column := connector.Column{Name: c.Name, Type: c.Type, Formats: c.Formats, Personal: c.Personal, Description: "Field of the export"}
		if c.Field != "" {
			column.Path = []string{c.Field}
		}
		if column.Type == "" {
			column.Type = connector.TypeText
		}
		columns = append(columns, from(bySettings, column)...)
	}
	key := []string{projectID, "job_id", "job_run_id", "part_id", "line_number"}
	if len(e.Key) > 0 {
		key = append([]string{projectID}, e.Key...)
	}
	return connector.Stream{
		Name:            e.Stream,
		Description:     "Data of export job " + string(e.Job) + ".",
		DocsURL:         docs + "export/",
		Mode:            connector.ModeCursor,
		PrimaryKey:      key,
		PartitionColumn: projectID,
		Columns:         columns,
	}
}
