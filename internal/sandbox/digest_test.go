package sandbox_test

import (
	"crypto/md5" //nolint:gosec // RFC 7616 section 3.2
	"encoding/hex"
	"fmt"
	"regexp"
	"testing"
)

// digest answers a challenge as RFC 7616 section 3.4 has it, with qop=auth.
func digest(t *testing.T, challenge, user, password, uri string) string {
	t.Helper()
	field := func(name string) string {
		m := regexp.MustCompile(name + `="([^"]*)"`).FindStringSubmatch(challenge)
		if m == nil {
			t.Fatalf("no %s in %q", name, challenge)
		}
		return m[1]
	}
	sum := func(s string) string {
		b := md5.Sum([]byte(s)) //nolint:gosec // see the import
		return hex.EncodeToString(b[:])
	}
	realm, nonce := field("realm"), field("nonce")
	response := sum(sum(user+":"+realm+":"+password) + ":" + nonce + ":00000001:c0ffee:auth:" + sum("GET:"+uri))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", qop=auth, nc=00000001, cnonce="c0ffee", response="%s", opaque="%s"`,
		user, realm, nonce, uri, response, field("opaque"))
}
