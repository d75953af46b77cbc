package main

import (
	"encoding/json"
	"slices"

	"github.com/winchdata/winch/connectors/contentsquare"
	"github.com/winchdata/winch/connectors/fospha"
	"github.com/winchdata/winch/connectors/generic"
	"github.com/winchdata/winch/connectors/kaisa"
	"github.com/winchdata/winch/pkg/connector"
)

// bundled returns the connectors that ship inside this program, by name.
func bundled() []connector.Definition {
	return []connector.Definition{
		generic.Definition(),
		kaisa.Definition(),
		contentsquare.Definition(),
		fospha.Definition(),
	}
}

func bundledNames() []string {
	var names []string
	for _, def := range bundled() {
		names = append(names, def.Name)
	}
	return names
}

// bundledConnector returns the bundled connector with the given name.
func bundledConnector(name string) (def connector.Definition, known bool) {
	all := bundled()
	i := slices.IndexFunc(all, func(def connector.Definition) bool { return def.Name == name })
	if i < 0 {
		return connector.Definition{}, false
	}
	return all[i], true
}

// bundledSchema returns the configuration schema of a bundled connector.
func bundledSchema(name string) (schema json.RawMessage, known bool) {
	def, known := bundledConnector(name)
	return def.ConfigSchema, known
}
