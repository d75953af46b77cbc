// Package bench measures the whole pipeline - page server, plugin process, agent,
// PostgreSQL - against what PostgreSQL itself costs for the same rows, in turn
// and in one run, since only ratios from one run mean anything on a shared
// machine. Its benchmarks are in test files: make bench runs them.
package bench
