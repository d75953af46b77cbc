// Command installed prints the major versions of PostgreSQL whose programs this
// machine has, a line each, the one that tests use by default first.
package main

import (
	"fmt"
	"os"

	"github.com/winchdata/winch/internal/pgtest"
)

func main() {
	majors, err := pgtest.Installed()
	if err != nil {
		fmt.Fprintln(os.Stderr, "installed:", err)
		os.Exit(1)
	}
	for _, major := range majors {
		fmt.Println(major)
	}
}
