package sim

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 7616 section 3.2: MD5 is the algorithm that old accounts use
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Digest verifies HTTP Digest access authentication, RFC 7616, with algorithm
// MD5 and qop=auth. It keeps no state: a nonce is the time of its making and a
// code that only this Digest can make, and is good for Lifetime.
type Digest struct {
	Realm, Username, Password string
	Lifetime                  time.Duration
	Now                       func() time.Time
	Seed                      uint64
}

// Challenge is the value of WWW-Authenticate.
func (d *Digest) Challenge(stale bool) string {
	made := strconv.FormatInt(d.Now().Unix(), 16)
	return fmt.Sprintf(`Digest realm="%s", qop="auth", algorithm=MD5, nonce="%s", opaque="sandbox", stale=%t`,
		d.Realm, made+"."+d.code(made), stale)
}

// Allows reports whether the request answers a challenge rightly; stale says
// that it does so for a nonce that is too old.
func (d *Digest) Allows(r *http.Request) (ok, stale bool) {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Digest") {
		return false, false
	}
	p := digestParams(rest)
	made, code, _ := strings.Cut(p["nonce"], ".")
	if code == "" || !Equal(code, d.code(made)) || p["username"] != d.Username || p["uri"] != r.RequestURI || p["qop"] != "auth" {
		return false, false
	}
	a1 := md5Hex(d.Username + ":" + d.Realm + ":" + d.Password)
	a2 := md5Hex(r.Method + ":" + p["uri"])
	want := md5Hex(strings.Join([]string{a1, p["nonce"], p["nc"], p["cnonce"], p["qop"], a2}, ":"))
	if !Equal(p["response"], want) {
		return false, false
	}
	seconds, err := strconv.ParseInt(made, 16, 64)
	if err != nil || !d.Now().Before(time.Unix(seconds, 0).Add(d.Lifetime)) {
		return false, true
	}
	return true, false
}

func (d *Digest) code(made string) string {
	mac := hmac.New(sha256.New, []byte(strconv.FormatUint(d.Seed, 16)))
	mac.Write([]byte(made))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// digestParams reads name=value pairs, the values quoted or not (RFC 9110
// section 11.2).
func digestParams(s string) map[string]string {
	params := map[string]string{}
	for s = strings.TrimLeft(s, ", "); s != ""; s = strings.TrimLeft(s, ", ") {
		name, rest, found := strings.Cut(s, "=")
		if !found {
			break
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, s, _ = strings.Cut(rest[1:], `"`)
		} else {
			value, s, _ = strings.Cut(rest, ",")
		}
		params[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return params
}
