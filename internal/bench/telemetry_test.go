package bench

import (
	"fmt"
	"testing"

	"github.com/winchdata/winch/internal/telemetry/otlptest"
)

// BenchmarkTelemetry prints what telemetry adds to the CPU time of agent and
// connector, as ratios of pairs of pulls that follow one another: with all traces
// recorded, metrics sent and scraped every five seconds, against without. Which of a
// pair goes first alternates, since the second finds warmer caches.
func BenchmarkTelemetry(b *testing.B) {
	bed := newBed(b, benchRows())
	receiver := otlptest.New(b)
	pairs := number("WINCH_BENCH_PAIRS", 7)
	once := func(on bool) measurement {
		bed.receiver = ""
		if on {
			bed.receiver = receiver.URL
		}
		return bed.pipeline(kind{fresh: true})
	}
	once(true) // warms up
	var off, on []measurement
	var ratios []float64
	for i := range pairs {
		for _, second := range []bool{false, true} {
			if traced := second != (i%2 == 1); traced {
				on = append(on, once(true))
			} else {
				off = append(off, once(false))
			}
		}
		ratios = append(ratios, processCPU(on[i])/processCPU(off[i]))
	}
	spans := len(receiver.Spans())
	if spans == 0 || len(receiver.Metrics()) == 0 {
		b.Fatal("nothing was traced, or no metrics were sent")
	}
	fmt.Printf("\n%d rows, telemetry on against off, %d pairs, median (least .. most)\n", bed.rows, pairs)
	fmt.Printf("  CPU of agent and plugin   off %s s, on %s s, %d spans a pull\n",
		spread(each(off, processCPU), "%.2f"), spread(each(on, processCPU), "%.2f"), spans/(pairs+1))
	fmt.Printf("  ratio                     %s\n", spread(ratios, "%.3f"))
	b.ReportMetric(median(ratios), "telemetry-ratio")
}

func processCPU(m measurement) float64 { return m.agentCPU + m.pluginCPU }
