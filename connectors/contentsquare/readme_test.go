package contentsquare

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector/manual"
)

// The tables of README.md are those of the definition.
func TestReadmeTablesAreCurrent(t *testing.T) {
	t.Parallel()
	got, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := manual.Readme(string(got), Definition())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("run with -update to rewrite (-want +got):\n%s", diff)
	}
}
