package bench

import (
	"fmt"
	"testing"
)

// BenchmarkMemory prints the most memory that agent and connector have resident
// while they pull ever more records, which is to stay the same. 10,000,000 of them
// take the page server 4 GiB.
func BenchmarkMemory(b *testing.B) {
	fmt.Println("\npeak memory resident, new rows")
	for _, rows := range []int{100_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			m := newBed(b, rows).pipeline(kind{fresh: true})
			agent, plugin := float64(m.agentPeak)/(1<<20), float64(m.pluginPeak)/(1<<20)
			fmt.Printf("  %8d rows: agent %.0f MiB, plugin %.0f MiB, together %.0f MiB, %.0f rows/s\n", rows, agent, plugin, agent+plugin, float64(rows)/m.seconds)
			b.ReportMetric(agent+plugin, "peak-MiB")
		})
	}
}
