package record

import (
	"strings"
	"testing"
)

// A name is found where it stands, whether there is room for its words after it or
// not, and nowhere else.
func TestNameEndsAfterItsColon(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 4, 5, 6, 12, 13, 14, 15, 40} {
		quoted := `"` + strings.Repeat("k", size) + `"`
		n := newName(quoted)
		for _, after := range []string{"", "1", "1}", `1,"another":"value that is long enough"}`} {
			b := []byte("{" + quoted + ":" + after)
			want := 1 + len(quoted) + 1
			if end := n.end(b, 1); end != want {
				t.Errorf("%s in %s ends at %d, want %d", quoted, b, end, want)
			}
			for i := 1; i < want; i++ {
				other := []byte(string(b))
				other[i] ^= 0x20
				if end := n.end(other, 1); end != 0 {
					t.Errorf("%s in %s ends at %d, want none", quoted, other, end)
				}
			}
			for short := 1; short < want; short++ {
				if end := n.end(b[:short], 1); end != 0 {
					t.Errorf("%s in %s ends at %d, want none", quoted, b[:short], end)
				}
			}
		}
	}
}
