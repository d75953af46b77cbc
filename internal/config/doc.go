// Package config reads winch.yaml: it loads, validates and resolves. A
// configuration is taken from three layers, each of which wins over the one
// before: the file, the environment, the flags.
//
// # Environment
//
// A variable is named after the key that it sets: WINCH_ and the key path in
// upper case, with underscores for dots. WINCH_SINK_URL is sink.url,
// WINCH_TELEMETRY_OTLP_ENDPOINT is telemetry.otlp_endpoint, and for a source
// kaisa_se in the file WINCH_SOURCES_KAISA_SE_SCHEDULE is
// sources.kaisa_se.schedule. Since keys contain underscores themselves, a name
// is not split but looked up: among the keys of this package, the sources and
// streams of the file, and the settings that a connector's schema declares or
// the file gives. So a variable can change a source but not add one. Lists are
// separated by commas; an empty variable counts as not set. A WINCH_ variable
// that names no key, or two, is a problem, except WINCH_CONFIG (the file's path),
// WINCH_TEST_*, and variables that a reference in the configuration uses.
//
// # References
//
// The sink's URL and the settings of connectors may hold references, alone or
// inside text: ${env:NAME}, ${file:path} and ${exec:command arguments}. $${ is a
// literal ${. They are resolved late, by Resolve, and what they resolve to is
// neither stored nor printed. Relative paths are relative to the directory of
// the file that they stand in, or to the working directory if they come from the
// environment or a flag.
//
// # Problems
//
// Everything that is wrong is reported at once, as [Problems]: each with its key
// path, file and line, the value found unless it could be a secret, and what to
// do.
package config

//go:generate go test -run TestGoldenProblems|TestEditorSchemaIsUpToDate -update -count=1 .
