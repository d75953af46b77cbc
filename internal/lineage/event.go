package lineage

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// An event is a RunEvent of OpenLineage.
type event struct {
	EventType string    `json:"eventType"`
	EventTime string    `json:"eventTime"`
	Run       eventRun  `json:"run"`
	Job       eventJob  `json:"job"`
	Inputs    []dataset `json:"inputs"`
	Outputs   []dataset `json:"outputs"`
	Producer  string    `json:"producer"`
	SchemaURL string    `json:"schemaURL"`
}

type eventRun struct {
	RunID  string `json:"runId"`
	Facets facets `json:"facets,omitempty"`
}

type eventJob struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Facets    facets `json:"facets,omitempty"`
}

type dataset struct {
	Namespace    string `json:"namespace"`
	Name         string `json:"name"`
	Facets       facets `json:"facets,omitempty"`
	InputFacets  facets `json:"inputFacets,omitempty"`
	OutputFacets facets `json:"outputFacets,omitempty"`
}

type (
	facets map[string]fields
	fields map[string]any
)

// The schemas of what is sent, below the address of the specification.
const (
	specification = "https://openlineage.io/spec/"

	runEvent         = "2-0-2/OpenLineage.json#/$defs/RunEvent"
	schemaFacet      = "facets/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet"
	documentationSet = "facets/1-1-0/DocumentationDatasetFacet.json#/$defs/DocumentationDatasetFacet"
	documentationJob = "facets/1-1-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet"
	dataSource       = "facets/1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet"
	inputStatistics  = "facets/1-0-0/InputStatisticsInputDatasetFacet.json#/$defs/InputStatisticsInputDatasetFacet"
	outputStatistics = "facets/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet"
	nominalTime      = "facets/1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet"
	parentRun        = "facets/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet"
	errorMessage     = "facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet"
	processingEngine = "facets/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet"
	tags             = "facets/1-0-0/TagsRunFacet.json#/$defs/TagsRunFacet"
	jobType          = "facets/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
)

const repository = "https://github.com/winchdata/winch"

var released = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)

// producer is the URI of the program: of its sources at the release, if it is one.
func producer(version string) string {
	if released.MatchString(version) {
		return repository + "/tree/" + version
	}
	return repository
}

func (t *Teller) facet(schema string, f fields) fields {
	f["_producer"], f["_schemaURL"] = t.producer, specification+schema
	return f
}

const layout = "2006-01-02T15:04:05.000Z07:00"

// event is an event without datasets.
func (t *Teller) event(r Run, stream, kind string, at time.Time) event {
	e := event{
		EventType: kind, EventTime: at.UTC().Format(layout), Inputs: []dataset{}, Outputs: []dataset{},
		Producer: t.producer, SchemaURL: specification + runEvent,
		Run: eventRun{RunID: RunID(r, stream), Facets: t.runFacets(r)},
		Job: eventJob{Namespace: t.namespace, Name: jobName(r.Source, stream), Facets: facets{
			"jobType": t.facet(jobType, fields{"processingType": "BATCH", "integration": "WINCH", "jobType": "JOB"}),
		}},
	}
	if stream != "" {
		e.Job.Facets["jobType"]["jobType"] = "TASK"
	}
	if parent, root := t.parents(r, stream); parent != (Parent{}) {
		facet := t.facet(parentRun, parent.fields())
		if root != parent {
			facet["root"] = root.fields()
		}
		e.Run.Facets["parent"] = facet
	}
	return e
}

func (t *Teller) runFacets(r Run) facets {
	known := []fields{}
	for _, tag := range []struct{ key, value string }{
		{"winch.run", strconv.FormatInt(r.ID, 10)}, {"winch.trigger", r.Trigger}, {"trace_id", r.TraceID},
	} {
		if tag.value != "" {
			known = append(known, fields{"key": tag.key, "value": tag.value, "source": "WINCH"})
		}
	}
	all := facets{
		"processing_engine": t.facet(processingEngine, fields{"name": "Winch", "version": t.version}),
		"tags":              t.facet(tags, fields{"tags": known}),
	}
	if !r.Nominal.IsZero() {
		all["nominalTime"] = t.facet(nominalTime, fields{"nominalStartTime": r.Nominal.UTC().Format(layout)})
	}
	return all
}

// parents are the run that this one is part of, and the outermost one.
func (t *Teller) parents(r Run, stream string) (parent, root Parent) {
	whole := Parent{Namespace: t.namespace, Job: jobName(r.Source, ""), Run: RunID(r, "")}
	switch {
	case stream == "":
		return t.parent, t.parent
	case t.parent != (Parent{}):
		return whole, t.parent
	default:
		return whole, whole
	}
}

func (p Parent) fields() fields {
	return fields{"run": fields{"runId": p.Run}, "job": fields{"namespace": p.Namespace, "name": p.Job}}
}

// describe says what a stream is read from and lands in.
func (t *Teller) describe(e *event, r Run, s Stream) {
	about := s.Description
	if s.DocsURL != "" {
		about = strings.TrimSpace(about + " " + s.DocsURL)
	}
	e.Job.Facets["documentation"] = t.facet(documentationJob, fields{
		"description": "Reads " + s.Name + " of the source " + r.Source + " by the connector " + r.Connector + ".",
	})
	vendor := vendorOf(r)
	e.Inputs = []dataset{{Namespace: vendor, Name: s.Name, Facets: t.datasetFacets(vendor, vendor, about, inputFields(s.Columns))}}
	e.Outputs = []dataset{{Namespace: s.Table.Namespace, Name: s.Table.Name, Facets: t.datasetFacets(s.Table.Namespace, s.Table.URI, about, outputFields(s.Columns))}}
}

// vendorOf names what an account offers. OpenLineage has no names for APIs; those
// of its databases are of this form, a scheme and who answers.
func vendorOf(r Run) string {
	return strings.ReplaceAll(r.Connector, "_", "-") + "://" + r.Source
}

func (t *Teller) datasetFacets(name, uri, about string, columns []fields) facets {
	all := facets{
		"dataSource": t.facet(dataSource, fields{"name": name, "uri": uri}),
		"schema":     t.facet(schemaFacet, fields{"fields": columns}),
	}
	if about != "" {
		all["documentation"] = t.facet(documentationSet, fields{"description": about})
	}
	return all
}

// inputFields are where the values stand in the vendor's records.
func inputFields(columns []connector.Column) []fields {
	return describeColumns(columns, func(c connector.Column) string { return strings.Join(c.Source(), ".") })
}

// outputFields are the columns of the table, but for those that are never stored.
func outputFields(columns []connector.Column) []fields {
	return describeColumns(columns, func(c connector.Column) string {
		if c.Secret {
			return ""
		}
		return c.Name
	})
}

func describeColumns(columns []connector.Column, name func(connector.Column) string) []fields {
	all := []fields{}
	for _, c := range columns {
		called := name(c)
		if called == "" {
			continue
		}
		one := fields{"name": called, "type": string(c.Type), "ordinal_position": len(all) + 1}
		if c.Description != "" {
			one["description"] = c.Description
		}
		all = append(all, one)
	}
	return all
}
