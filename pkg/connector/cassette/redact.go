package cassette

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/maphash"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/pkg/connector"
)

// hidden stands for secrets that are known as such. It is the same in every
// recording, so that a request with another secret still finds its answer.
const hidden = "redacted"

const (
	shortestPart    = 4       // of a secret that is looked for within other text
	shortestLearned = 6       // of a value that is looked for in later requests
	mostLearned     = 200_000 // values that are kept for that
	mostPlain       = 1 << 20 // values that are kept to be asked for as they are
	mostWithin      = 500     // values that are looked for within other text
	shortestWithin  = 8       // of these
	deepest         = 100     // levels of JSON that are looked into
)

// A redactor replaces what must not be recorded. It is safe for concurrent use.
type redactor struct {
	key []byte // of the stand-ins; nil replaces known secrets alone

	mu      sync.RWMutex
	secrets []string                      // longest first, in all forms they can take
	marked  map[string][]connector.Column // by the name of the field
	learned map[string]string             // value that was replaced -> stand-in
	plain   map[uint64]bool               // hashes of values that were recorded as they are
	within  []string                      // those of them that are looked for within texts

	mostLearned, mostPlain int
	// strict hides what could be a forgotten value in paths and queries, once
	// there are forgotten ones.
	strict bool
}

func newRedactor(secrets []string, streams []connector.Stream) *redactor {
	r := &redactor{
		key: make([]byte, 32), marked: map[string][]connector.Column{}, learned: map[string]string{}, plain: map[uint64]bool{},
		mostLearned: mostLearned, mostPlain: mostPlain,
	}
	_, _ = rand.Read(r.key) // never fails, says crypto/rand
	r.addSecrets(secrets...)
	r.mark(streams)
	return r
}

// addSecrets makes values known that must not appear anywhere.
func (r *redactor) addSecrets(values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, value := range values {
		if value == "" || standIn.MatchString(value) {
			continue
		}
		quoted, _ := json.Marshal(value)
		for _, form := range []string{
			value, url.QueryEscape(value), url.PathEscape(value), strings.Trim(string(quoted), `"`),
			base64.StdEncoding.EncodeToString([]byte(value)), base64.URLEncoding.EncodeToString([]byte(value)),
		} {
			if !slices.Contains(r.secrets, form) {
				r.secrets = append(r.secrets, form)
			}
		}
	}
	slices.SortStableFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
}

// mark makes the personal and secret columns of streams known.
func (r *redactor) mark(streams []connector.Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range streams {
		for _, c := range s.Columns {
			if !c.Personal && !c.Secret {
				continue
			}
			path := c.Source()
			name := strings.ToLower(path[len(path)-1])
			if !slices.ContainsFunc(r.marked[name], func(o connector.Column) bool {
				return o.Type == c.Type && slices.Equal(o.Formats, c.Formats)
			}) {
				r.marked[name] = append(r.marked[name], c)
			}
		}
	}
}

var (
	standIn = regexp.MustCompile(`^redacted(-[0-9a-f]{16}(@example\.invalid)?)?$`)
	email   = regexp.MustCompile(`[\pL\pN._%+\-]+@[\pL\pN\-]+(\.[\pL\pN\-]+)+`)
	phone   = regexp.MustCompile(`\+[0-9][0-9 ()./\-]{5,}[0-9]`)
	date    = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}`)
	digits  = regexp.MustCompile(`^[0-9]+$`)
	jwt     = regexp.MustCompile(`eyJ[A-Za-z0-9_\-]{4,}\.[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]*)?`)
	bearer  = regexp.MustCompile(`(?i)\b(bearer|basic) +[A-Za-z0-9+/=._~\-]{8,}`)

	secretName   = regexp.MustCompile(`(?i)token|secret|passw|pwd|api[_-]?key|access[_-]?key|private[_-]?key|authorization|signature|^sig$|credential|session[_-]?(id|key)|jwt|cookie|nonce`)
	personalName = regexp.MustCompile(`(?i)phone|msisdn|(^|[_.\-])e[_-]?mail|(?-i:E-?[mM]ail)|mobile[_-]?(number|no|nr)|^mobile$|personnummer|^ssn$`)
	// harmlessName are names that look like those of secrets and are none.
	harmlessName = regexp.MustCompile(`(?i)^(token[_-]?type|has.*|.*(count|expires?([_-]?in)?|duration|seconds|length))$`)
	// plainName are the fields of a token's answer whose text is recorded.
	plainName = regexp.MustCompile(`(?i)^(token_?type|scope|expires?(_?(in|at))?|error|error_?code|error_?description|error_?message|message|success|status)$`)
)

func looksSecret(name string) bool {
	return secretName.MatchString(name) && !harmlessName.MatchString(name)
}

// Hides reports whether the values of a field are replaced for its name alone, as
// those of secrets, telephone numbers and the like are.
func Hides(field string) bool { return looksSecret(field) || personalName.MatchString(field) }

// columns returns the marks of a field; ok is false where its value may stay.
func (r *redactor) columns(name string) (marks []connector.Column, ok bool) {
	if r.key == nil {
		return nil, false
	}
	r.mu.RLock()
	marks, ok = r.marked[strings.ToLower(name)]
	r.mu.RUnlock()
	return marks, ok || Hides(name)
}

// sum is what a stand-in is made of.
func (r *redactor) sum(value string) []byte {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(value))
	return mac.Sum(nil)
}

// replace returns the stand-in for a text.
func (r *redactor) replace(value string) string {
	if value == "" || standIn.MatchString(value) {
		return value
	}
	return hidden + "-" + hex.EncodeToString(r.sum(value)[:8])
}

// replaceTyped returns the stand-in for the text of a marked column. What the
// column's type can hold, the stand-in is too.
func (r *redactor) replaceTyped(value string, marks []connector.Column) string {
	if value == "" || standIn.MatchString(value) {
		return value
	}
	for _, c := range marks {
		switch c.Type {
		case connector.TypeBigint, connector.TypeNumeric, connector.TypeDouble:
			if _, err := strconv.ParseFloat(value, 64); err == nil {
				return r.replaceNumber(value)
			}
		case connector.TypeBoolean:
			return "false"
		case connector.TypeDate, connector.TypeTimestamp:
			formats := append(slices.Clone(c.Formats), time.RFC3339, time.DateOnly, "2006-01-02T15:04:05", time.DateTime)
			for _, format := range formats {
				switch _, err := time.Parse(format, value); {
				case format == "unix" || format == "unix_ms":
					if _, err := strconv.ParseFloat(value, 64); err == nil {
						return "946684800" + strings.Repeat("0", 3*strings.Count(format, "_"))
					}
				case err == nil:
					return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Format(format)
				}
			}
		case connector.TypeText, connector.TypeJSON:
		}
	}
	if digits.MatchString(value) {
		return r.replaceNumber(value)
	}
	if email.MatchString(value) {
		return r.replace(value) + "@example.invalid"
	}
	return r.replace(value)
}

// replaceNumber returns a whole number with as many digits as the literal has
// before its point, fifteen at most.
func (r *redactor) replaceNumber(literal string) string {
	whole, _, _ := strings.Cut(strings.TrimLeft(literal, "-+"), ".")
	digits := min(max(len(whole), 1), 15)
	least := uint64(1)
	for range digits - 1 {
		least *= 10
	}
	return strconv.FormatUint(least+binary.BigEndian.Uint64(r.sum(literal))%(9*least), 10)
}

// learn keeps what stands for the value of a field, which later requests may
// repeat. Values of fields that look secret are looked for within texts too.
func (r *redactor) learn(name, value, stand string) {
	if len(value) < shortestLearned || value == stand || date.MatchString(value) {
		return // days are asked for, whoever was born on one
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// An identifier that was recorded as it is will be asked for as it is.
	if _, known := r.learned[value]; known || r.overflows() || r.plain[hash(value)] {
		return
	}
	r.learned[value] = stand
	if looksSecret(name) && len(value) >= shortestWithin && len(r.within) < mostWithin {
		r.within = append(r.within, value)
	}
}

// keep notes that a value is recorded as it is.
func (r *redactor) keep(value string) {
	if len(value) < shortestLearned || r.key == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.plain) < r.mostPlain {
		r.plain[hash(value)] = true
	}
}

var seed = maphash.MakeSeed()

func hash(value string) uint64 { return maphash.String(seed, value) }

// text returns a text without secrets and without what looks personal.
func (r *redactor) text(s string) string {
	if s == "" || standIn.MatchString(s) {
		return s
	}
	r.mu.RLock()
	stand, ok := r.learned[s]
	secrets, within := slices.Clone(r.secrets), r.within
	r.mu.RUnlock()
	if ok {
		return stand
	}
	for _, secret := range secrets {
		if s == secret {
			return hidden
		}
		if len(secret) >= shortestPart {
			s = strings.ReplaceAll(s, secret, hidden)
		}
	}
	if r.key == nil {
		return s
	}
	for _, value := range within {
		if strings.Contains(s, value) {
			s = strings.ReplaceAll(s, value, r.replace(value))
		}
	}
	if u, err := url.Parse(s); err == nil && u.Host != "" && (u.RawQuery != "" || u.User != nil) {
		u.User = nil
		u.RawQuery = r.query(u.Query())
		s = u.String()
	}
	s = jwt.ReplaceAllStringFunc(s, r.replace)
	s = bearer.ReplaceAllString(s, "$1 "+hidden)
	s = email.ReplaceAllStringFunc(s, func(found string) string {
		if strings.HasSuffix(found, "@example.invalid") {
			return found
		}
		return r.replace(found) + "@example.invalid"
	})
	return phone.ReplaceAllStringFunc(s, r.replace)
}

// query returns the query with its parameters sorted.
func (r *redactor) query(q url.Values) string {
	out := url.Values{}
	for name, values := range q {
		for _, value := range values {
			clean := r.text(value)
			if clean == value && r.key != nil && (looksSecret(name) || personalName.MatchString(name)) {
				clean = r.replace(value)
				r.learn(name, value, clean)
			}
			if clean == value && r.forgotten(value) {
				clean = r.replace(value)
			}
			if clean == value {
				r.keep(value)
			}
			out.Add(r.text(name), clean)
		}
	}
	return out.Encode()
}

// path returns an escaped path.
func (r *redactor) path(escaped string) string {
	parts := strings.Split(escaped, "/")
	for i, part := range parts {
		if plain, err := url.PathUnescape(part); err == nil {
			clean := r.text(plain)
			if clean == plain && r.forgotten(plain) {
				clean = r.replace(plain)
			}
			if clean != plain {
				parts[i] = url.PathEscape(clean)
			} else {
				r.keep(plain)
			}
		}
	}
	return strings.Join(parts, "/")
}

// json appends a JSON value, redacted. ok is false if raw is not one.
func (r *redactor) json(dst, raw []byte) (out []byte, ok bool) {
	return r.walk(dst, raw, false)
}

// tokenAnswer is json for the answer to a token request: every text is replaced
// that is not known to be harmless, and what is replaced is a secret from then on.
func (r *redactor) tokenAnswer(dst, raw []byte) (out []byte, ok bool) {
	return r.walk(dst, raw, true)
}

func (r *redactor) walk(dst, raw []byte, token bool) (out []byte, ok bool) {
	start, end, err := jsonscan.Value(raw, 0)
	if err != nil || strings.TrimSpace(string(raw[end:])) != "" {
		return dst, false
	}
	w := walk{redactor: r, token: token}
	if r.key != nil && !token { // what a later field says to replace, an earlier one may hold
		w.trial = true
		if _, err := w.value(nil, raw[start:end], "", nil, false, 0); err != nil {
			return dst, false
		}
		w.trial = false
	}
	out, err = w.value(dst, raw[start:end], "", nil, false, 0)
	return out, err == nil
}

// A walk goes through one JSON value.
type walk struct {
	*redactor
	token bool
	// trial learns what is to be replaced; its result is thrown away.
	trial bool
}

// value appends one value, whose own or enclosing field is name. marked says
// that it is to be replaced, as marks say.
func (w walk) value(dst, raw []byte, name string, marks []connector.Column, marked bool, depth int) ([]byte, error) {
	if depth > deepest {
		return append(dst, "null"...), nil
	}
	switch raw[0] {
	case '{':
		return w.object(dst, raw, marks, marked, depth)
	case '[':
		dst = append(dst, '[')
		first := true
		err := jsonscan.Array(raw, func(element []byte) (err error) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst, err = w.value(dst, element, name, marks, marked, depth+1)
			return err
		})
		return append(dst, ']'), err
	case '"':
		plain, err := jsonscan.Unquote(nil, raw)
		if err != nil {
			return dst, err
		}
		return appendString(dst, w.string(string(plain), name, marks, marked, depth)), nil
	case 't', 'f':
		if marked {
			return append(dst, "false"...), nil
		}
	case 'n':
	default:
		literal := string(raw)
		if clean := w.text(literal); clean != literal {
			if _, err := strconv.ParseFloat(clean, 64); err == nil {
				return append(dst, clean...), nil
			}
			return append(dst, '0'), nil
		}
		if marked {
			stand := w.replaceTyped(literal, marks)
			if _, err := strconv.ParseFloat(stand, 64); err != nil {
				stand = w.replaceNumber(literal)
			}
			w.learn(name, literal, stand)
			return append(dst, stand...), nil
		}
		if !w.trial {
			w.keep(literal)
		}
	}
	return append(dst, raw...), nil
}

func (w walk) object(dst, raw []byte, marks []connector.Column, marked bool, depth int) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	err := jsonscan.Object(raw, func(key, value []byte) error {
		plain, err := jsonscan.Unquote(nil, key)
		if err != nil {
			return err
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, w.text(string(plain))), ':')
		fieldMarks, fieldMarked := marks, marked
		if !marked {
			fieldMarks, fieldMarked = w.columns(string(plain))
		}
		dst, err = w.value(dst, value, string(plain), fieldMarks, fieldMarked, depth+1)
		return err
	})
	return append(dst, '}'), err
}

func (w walk) string(s, name string, marks []connector.Column, marked bool, depth int) string {
	if trimmed := strings.TrimSpace(s); len(trimmed) > 1 && (trimmed[0] == '{' || trimmed[0] == '[') {
		if start, end, err := jsonscan.Value([]byte(trimmed), 0); err == nil && end == len(trimmed) { // JSON in a string
			if inner, err := w.value(nil, []byte(trimmed)[start:end], name, marks, marked, depth+1); err == nil {
				return string(inner)
			}
		}
	}
	if w.token && w.key != nil {
		return w.tokenString(s, name)
	}
	clean := w.text(s)
	if marked && clean == s {
		clean = w.replaceTyped(s, marks)
		w.learn(name, s, clean)
	} else if clean == s && !w.trial {
		w.keep(s)
	}
	return clean
}

func (w walk) tokenString(s, name string) string {
	if plainName.MatchString(name) {
		return w.text(s)
	}
	if u, err := url.Parse(s); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
		return w.text(s)
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil && len(s) < 20 && !looksSecret(name) {
		return s // a lifetime as text
	}
	if len(s) >= shortestPart {
		defer w.addSecrets(s)
	}
	return w.replace(s)
}

func appendString(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // cannot fail for a string
	return append(dst, quoted...)
}
