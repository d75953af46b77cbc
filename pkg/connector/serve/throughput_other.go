//go:build !linux

package serve

import "net"

// preferThroughput does nothing where the system has no word for it.
func preferThroughput() error { return nil }

func widen(net.Addr) error { return nil }
