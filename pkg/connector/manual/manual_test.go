package manual

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

const schema = `{"required": ["key"], "properties": {
	"zeal": {"type": "string", "description": "First in the text.", "default": "high"},
	"key": {"type": "string", "writeOnly": true, "title": "Key"},
	"size": {"type": ["integer", "string"], "default": 10},
	"how": {"enum": ["", "fast", "slow"], "default": ""},
	"any": {"description": "Anything."},
	"lists": {"type": "array", "default": [ 1 ], "items": {"type": "object", "required": ["of"], "properties": {"of": {"type": "string"}}}},
	"group": {"type": "object", "default": {}, "properties": {"inner": {"type": "boolean", "default": false}}}
}}`

func TestSettingsAreThoseOfTheSchemaInItsOrder(t *testing.T) {
	t.Parallel()
	got, err := Settings([]byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	want := []Setting{
		{Name: "zeal", Kind: "string", Description: "First in the text.", Default: "high"},
		{Name: "key", Kind: "secret", Description: "Key", Required: true},
		{Name: "size", Kind: "integer or string", Default: "10"},
		{Name: "how", Kind: "one of fast slow"},
		{Name: "any", Kind: "any", Description: "Anything."},
		{Name: "lists", Kind: "array", Default: "[1]"},
		{Name: "lists[].of", Kind: "string", Required: true},
		{Name: "group", Kind: "object"},
		{Name: "group.inner", Kind: "boolean", Default: "false"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := Settings([]byte(`{"properties": 1}`)); err == nil {
		t.Error("no error for what is no schema")
	}
}

func TestReadmeHasTheTablesInTheirPlaces(t *testing.T) {
	t.Parallel()
	def := connector.Definition{ConfigSchema: []byte(schema), Streams: []connector.Stream{
		{Name: "people", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id", "at"}, Columns: []connector.Column{
			{Name: "id"}, {Name: "mail", Personal: true}, {Name: "password", Secret: true},
		}},
		{Name: "calls", Optional: true, Mode: connector.ModeWindow, TimeColumn: "at", Slice: connector.Days(1), PrimaryKey: []string{"id"}, Columns: []connector.Column{{Name: "id"}}},
	}}
	text := "# A\n<!-- settings -->\nold\n<!-- /settings -->\nprose\n<!-- streams -->\n<!-- /streams -->\nend\n"
	got, err := Readme(text, def)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# A\n<!-- settings -->\n| setting |", "| `zeal` | `high` | First in the text. |\n", "| `key` | required | Key |\n",
		"<!-- /settings -->\nprose\n<!-- streams -->\n| stream |", "| `people` | snapshot | id, at | id, mail\\* |\n",
		"| *`calls`* | window by `at`, 1d, 0, 0 | id | id |\n<!-- /streams -->\nend\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if again, err := Readme(got, def); err != nil || again != got {
		t.Errorf("written twice it differs: %v\n%s", err, cmp.Diff(got, again))
	}
	if _, err := Readme("<!-- settings -->\n", def); err == nil {
		t.Error("no error without a place")
	}
}
