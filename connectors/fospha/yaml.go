package fospha

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// renderYAML writes discovered streams as they stand in a configuration, under
// the config of a source.
func renderYAML(address string, found []discovered, others []string) []byte {
	var w yamlWriter
	w.comment(0, "Streams of "+address+", read from its schema. Put them under config: of the source.")
	w.comment(0, "Check the comments, then: winch preview SOURCE STREAM")
	if len(others) > 0 {
		w.comment(0, "Queries without a list of records: "+strings.Join(others, ", "))
	}
	if len(found) == 0 {
		w.line(0, "streams: []")
		return w.text
	}
	w.line(0, "streams:")
	for _, d := range found {
		w.stream(d)
	}
	return w.text
}

type yamlWriter struct{ text []byte }

func (w *yamlWriter) line(depth int, text string) {
	w.text = append(w.text, strings.Repeat("  ", depth)+text+"\n"...)
}

func (w *yamlWriter) comment(depth int, text string) { w.line(depth, "# "+oneLine(text)) }

// pair writes a key with a text, unless it is empty.
func (w *yamlWriter) pair(depth int, key, value string) {
	if value != "" {
		w.line(depth, key+": "+quote(value))
	}
}

func (w *yamlWriter) stream(d discovered) {
	c := d.config
	w.line(1, "- name: "+quote(c.Name))
	for _, note := range d.notes {
		w.comment(2, note)
	}
	w.pair(2, "description", oneLine(c.Description))
	w.pair(2, "mode", string(c.Mode))
	w.line(2, "query: |")
	for line := range strings.Lines(c.Query) {
		w.line(3, strings.TrimRight(line, "\n"))
	}
	w.pair(2, "operation", c.Operation)
	if len(c.Variables) > 0 {
		w.line(2, "variables: "+string(c.Variables)) // JSON is YAML
	}
	w.pair(2, "client_id_location", c.ClientIDLocation)
	if c.Dates != nil {
		w.line(2, "dates:")
		w.pair(3, "from", c.Dates.From)
		w.pair(3, "to", c.Dates.To)
		w.pair(3, "format", c.Dates.Format)
	}
	w.pair(2, "records_path", c.RecordsPath)
	if p := c.Paging; p != nil {
		w.line(2, "paging:")
		w.pair(3, "by", p.By)
		w.pair(3, "variable", p.Variable)
		w.pair(3, "size_variable", p.SizeVariable)
		w.pair(3, "next_path", p.NextPath)
		w.pair(3, "total_path", p.TotalPath)
	}
	var key []string
	for _, name := range c.PrimaryKey {
		key = append(key, quote(name))
	}
	w.line(2, "primary_key: ["+strings.Join(key, ", ")+"]")
	w.pair(2, "time_column", c.TimeColumn)
	w.line(2, "columns:")
	for _, col := range c.Columns {
		parts := []string{"name: " + quote(col.Name), "type: " + string(col.Type)}
		if col.Path != "" {
			parts = append(parts, "path: "+quote(col.Path))
		}
		if col.Description != "" {
			parts = append(parts, "description: "+quote(col.Description))
		}
		w.line(3, "- {"+strings.Join(parts, ", ")+"}")
	}
}

// plain are texts that mean themselves in YAML, except for the words below.
var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)

// quote writes a text as a YAML scalar: plain where that is safe, else as a JSON
// string. A reference of the configuration file stays text.
func quote(text string) string {
	if plain.MatchString(text) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(text)) {
		return text
	}
	encoded, err := json.Marshal(strings.ReplaceAll(text, "${", "$${"))
	if err != nil {
		panic(fmt.Sprintf("fospha: a text that JSON cannot write: %v", err)) // no text is
	}
	return string(encoded)
}
