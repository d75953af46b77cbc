// Package configs holds the manifests that ship inside the program.
package configs

import (
	"embed"
	"slices"
	"strings"
)

//go:embed generic/*.yaml
var generic embed.FS

// Preset returns the text of the bundled manifest with that name.
func Preset(name string) (manifest []byte, ok bool) {
	if strings.ContainsAny(name, `/\`) {
		return nil, false
	}
	manifest, err := generic.ReadFile("generic/" + name + ".yaml")
	return manifest, err == nil
}

// Presets returns the names of the bundled manifests, sorted.
func Presets() []string {
	entries, err := generic.ReadDir("generic")
	if err != nil {
		panic(err) // the folder is embedded
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}
