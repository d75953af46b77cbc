//go:build race

package sinktest

// There is less to do with the race detector, which makes a sink in pure Go, that
// is SQLite, more than ten times slower.
const (
	manyRows     = 5000
	manyAttempts = 3
	kills        = 6
)
