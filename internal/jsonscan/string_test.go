package jsonscan_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/winchdata/winch/internal/jsonscan"
)

// TestStringsOfEveryLength puts each byte that matters at each place of the eight
// bytes that are looked at together, at the end of the text and before its end.
func TestStringsOfEveryLength(t *testing.T) {
	t.Parallel()
	marks := map[string]jsonscan.Traits{
		"": 0, " ": 0, "!": 0, "#": 0, "[": 0, "]": 0, "\x7f": 0, "\x1f": 0, "\x00": 0, "\n": 0,
		`\"`: jsonscan.Escaped, `\\`: jsonscan.Escaped, `\u00e5`: jsonscan.Escaped, `\u00x5`: 0, `\`: 0,
		"\x80": jsonscan.NonASCII, "\xa2": jsonscan.NonASCII, "\xff": jsonscan.NonASCII, "å": jsonscan.NonASCII,
		`å\n`: jsonscan.Escaped | jsonscan.NonASCII, `\nå`: jsonscan.Escaped | jsonscan.NonASCII,
	}
	for mark, want := range marks {
		for before := range 20 {
			for after := range 20 {
				quoted := `"` + strings.Repeat("a", before) + mark + strings.Repeat("z", after) + `"`
				valid := json.Valid([]byte(quoted))
				for _, rest := range []string{"", ",", `,"` + strings.Repeat("å", 8) + `"`} {
					end, traits, err := jsonscan.Scan([]byte(quoted+rest), 0, 0)
					switch {
					case mark == `\` && after == 0: // the quote is escaped, and the rest may close the string
					case valid != (err == nil):
						t.Fatalf("%q: %v, encoding/json says %v", quoted+rest, err, valid)
					case valid && (end != len(quoted) || traits != want):
						t.Fatalf("%q ends at %d with traits %d, want %d with %d", quoted+rest, end, traits, len(quoted), want)
					}
				}
				if _, _, err := jsonscan.Scan([]byte(quoted[:len(quoted)-1]), 0, 0); err == nil {
					t.Fatalf("%q is taken for closed", quoted[:len(quoted)-1])
				}
			}
		}
	}
}
