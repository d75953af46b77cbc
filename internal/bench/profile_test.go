package bench

import (
	"os"
	"runtime/pprof"
)

// profileEnv names a directory in which agents and their connectors leave CPU
// profiles.
const profileEnv = "WINCH_BENCH_PROFILE"

// profile begins a CPU profile in a new file of dir, if there is one, and returns
// what ends it.
func profile(dir, of string) (end func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	file, err := os.CreateTemp(dir, of+"-*.pprof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}
