package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A token that is accepted can be sent, ends in the future, and goes to an
// allowed base URL; an error shows nothing of the answer.
func FuzzTokenAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"abc","token_type":"Bearer","expires_in":3600,"scope":"a","endpoint":"https://a.example.com"}`,
		`{"data":{"access_token":"abc","expires_in":"300","endpoint":"https://example.com/v1"}}`,
		`{"data":"{\"access_token\":\"abc\"}"}`,
		`{"data":"\"{\\\"access_token\\\":1}\""}`,
		`{"access_token":"a\u0000b","expires_in":1e400}`,
		`{"access_token":"abc","expires_in":-0.0,"endpoint":"http://localhost"}`,
		`{"error":{"message":"no"}}`, `[]`, `"`, ``, `null`, `{"access_token":"\ud800"}`,
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, body string, nested bool) {
		c := ClientCredentials{
			TokenURL: "https://auth.example.com/t", ClientID: "i", ClientSecret: connector.NewSecret("s"),
			CheckBaseURL: HostsUnder("example.com"),
		}
		if nested {
			c.Answer = Answer{
				Token: []string{"data", "access_token"}, ExpiresIn: []string{"data", "expires_in"}, BaseURL: []string{"data", "endpoint"},
			}
		}
		sent := time.Now()
		token, err := c.read([]byte(body), sent)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("the error has more than one line: %q", err)
			}
			return
		}
		value := token.Value.Reveal()
		if value == "" || strings.ContainsAny(value+token.Type, " \r\n\x00") || token.Type == "" {
			t.Errorf("unusable token %q %q", token.Type, value)
		}
		if !token.ExpiresAt.After(sent) || token.ExpiresAt.Sub(sent) > 366*24*time.Hour {
			t.Errorf("lifetime %s", token.ExpiresAt.Sub(sent))
		}
		if nested && !strings.HasPrefix(token.BaseURL, "https://") {
			t.Errorf("base URL %q", token.BaseURL)
		}
	})
}
