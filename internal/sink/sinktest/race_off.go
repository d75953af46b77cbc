//go:build !race

package sinktest

// manyRows is how many rows the case with many rows writes, manyAttempts how many
// attempts at most follow each other on the model, kills how many agents die.
const (
	manyRows     = 50_000
	manyAttempts = 6
	kills        = 20
)
