package plugin

import (
	"testing"

	"github.com/winchdata/winch/pkg/connector"
)

// BenchmarkPull is the cost of a record of 350 bytes from the connector's
// emitter to the agent's, through a real process with mutual TLS.
func BenchmarkPull(b *testing.B) {
	const size = 350
	p := launch(b, "toy")
	src := open(b, p, toyConfigJSON{Records: b.N, Bytes: size})
	n := 0
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	if err := src.Pull(b.Context(), connector.Request{Stream: "records"}, countingEmitter(func() error { n++; return nil })); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if n != b.N {
		b.Fatalf("%d records, want %d", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkLaunch is the time from nothing to the answer of the first call.
func BenchmarkLaunch(b *testing.B) {
	for b.Loop() {
		p := launch(b, "toy")
		b.StopTimer()
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
