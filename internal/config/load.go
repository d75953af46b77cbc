package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Options say what to load and what to check it against.
type Options struct {
	// Path is the file, from --config. Empty: WINCH_CONFIG, then ./winch.yaml,
	// then winch/winch.yaml in $XDG_CONFIG_HOME or ~/.config.
	Path string
	// Optional allows that none of the standard places has a file: then there are
	// no sources. A file that was named must exist all the same.
	Optional bool
	// Flags are values by key path, "sink.url", that win over all others. In
	// problems the flag is named --sink-url.
	Flags map[string]any
	// Environ is the environment as os.Environ returns it. References use it too.
	Environ []string
	// Connectors returns the JSON Schema of a connector's settings, and whether
	// there is a connector with this name. It is asked once for each name. Nil:
	// neither the names of connectors nor their settings are checked.
	Connectors func(name string) (schema json.RawMessage, known bool)
	// Names are the known connectors, for suggestions.
	Names []string
}

const (
	pathVariable = "WINCH_CONFIG"
	// delimiter separates keys for koanf. Setting names may hold dots; no key
	// holds NUL.
	delimiter = "\x00"
)

// Load reads and checks a configuration. What is wrong with it is returned as
// Problems, all at once. References are checked for their form only: see
// [Config.Absent], [Source.Resolve] and [Sink.Resolve].
func Load(o Options) (*Config, error) {
	name, problem := locate(o)
	if problem != nil {
		return nil, Problems{*problem}
	}
	if name == "" {
		return decode(o, "", document{}, nil)
	}
	text, problem := readConfig(name)
	if problem != nil {
		return nil, Problems{*problem}
	}
	return loadText(o, name, text)
}

func loadText(o Options, name string, text []byte) (*Config, error) {
	doc, problems := parse(name, text)
	if len(problems) > 0 && len(doc.values) == 0 {
		return nil, problems.err() // nothing else can be told
	}
	return decode(o, name, doc, problems)
}

// decode puts the layers together and decodes them. problems are those of doc.
func decode(o Options, name string, doc document, problems Problems) (*Config, error) {
	d := &decoder{
		options:  o,
		origins:  &origins{file: name, places: doc.places, variables: map[string]string{}},
		env:      newEnvironment(o.Environ),
		schemas:  map[string]*settingsSchema{},
		problems: problems,
		reported: map[string]bool{},
	}
	if name != "" {
		d.origins.dir = filepath.Dir(name)
	}
	values, err := d.layers(doc.values)
	if err != nil {
		return nil, err
	}
	d.values = values
	cfg := d.config(name)
	if err := d.problems.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// layers merges the file, the environment and the flags, each winning over the
// one before, and remembers where what did not come from the file is from.
func (d *decoder) layers(file map[string]any) (map[string]any, error) {
	used := map[string]bool{}
	mapText(nil, file, func(_ path, text string) string {
		parts, _ := parseReferences(text) // what is wrong with it is reported where it may stand
		for _, ref := range references(parts) {
			if ref.scheme == "env" {
				used[ref.target] = true
			}
		}
		return text
	})
	table := newVariableTable(file, d.schemaOf)
	environment, by, problems := table.read(d.options.Environ, used)
	d.problems = append(d.problems, problems...)
	for id, variable := range by {
		d.origins.variables[id] = variable
	}
	for name := range d.options.Flags {
		p := path(strings.Split(name, "."))
		d.origins.variables[p.id()] = "--" + strings.NewReplacer(".", "-", "_", "-").Replace(name)
	}
	ko := koanf.New(delimiter)
	for _, layer := range []koanf.Provider{
		confmap.Provider(file, ""),
		confmap.Provider(environment, ""),
		confmap.Provider(d.options.Flags, "."),
	} {
		if err := ko.Load(layer, nil); err != nil {
			return nil, fmt.Errorf("merge configuration: %w", err)
		}
	}
	return ko.Raw(), nil
}

// locate returns the name of the file to read, empty if there is none and need
// not be.
func locate(o Options) (string, *Problem) {
	vars := newEnvironment(o.Environ).vars
	if o.Path != "" {
		return o.Path, nil
	}
	if name := vars[pathVariable]; name != "" {
		return name, nil
	}
	places := []string{"winch.yaml"}
	if base := configHome(vars); base != "" {
		places = append(places, filepath.Join(base, "winch", "winch.yaml"))
	}
	for _, place := range places {
		// A directory, or a file that cannot be looked at, is a mistake to report,
		// not a reason to look further.
		if _, err := os.Stat(place); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return place, nil
		}
	}
	if o.Optional {
		return "", nil
	}
	places[0] = "./" + places[0]
	return "", &Problem{
		Message: "there is no configuration: looked for " + strings.Join(places, " and "),
		Fix:     "write one with winch init, or name one with --config",
	}
}

func configHome(vars map[string]string) string {
	// The XDG specification says that a relative path there is to be ignored.
	if dir := vars["XDG_CONFIG_HOME"]; filepath.IsAbs(dir) {
		return dir
	}
	if home := vars["HOME"]; home != "" {
		return filepath.Join(home, ".config")
	}
	return ""
}

func readConfig(name string) ([]byte, *Problem) {
	fail := func(message, fix string) ([]byte, *Problem) {
		return nil, &Problem{File: name, Message: message, Fix: fix}
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail("there is no such file", "write one with winch init, or name another with --config")
	case err == nil && info.IsDir():
		return fail("this is a directory", "name the file: "+filepath.Join(name, "winch.yaml"))
	}
	f, err := os.Open(name)
	if err != nil {
		return fail(unreadable(err).message, "")
	}
	defer func() { _ = f.Close() }() // it was only read
	// One byte more than is allowed, so that parse can tell.
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fail(unreadable(err).message, "")
	}
	return text, nil
}

// schemaOf returns the schema of a connector's settings, nil if there is none.
func (d *decoder) schemaOf(name string) *settingsSchema {
	if s, ok := d.schemas[name]; ok {
		return s
	}
	var s *settingsSchema
	if d.options.Connectors != nil && name != "" {
		if raw, known := d.options.Connectors(name); !known {
			d.unknown = append(d.unknown, name)
		} else if len(raw) > 0 {
			var err error
			if s, err = compileSettings(raw); err != nil {
				d.problems = append(d.problems, Problem{
					Message: fmt.Sprintf("the connector %s has an unusable schema of its settings: %s", name, oneLine(err.Error(), 200)),
					Fix:     "report it to the connector's author",
				})
			}
		}
	}
	d.schemas[name] = s
	return s
}

func (d *decoder) isUnknown(connector string) bool { return slices.Contains(d.unknown, connector) }
