//go:build !linux

package serve

// preferThroughput does nothing where the system has no word for it.
func preferThroughput() error { return nil }
