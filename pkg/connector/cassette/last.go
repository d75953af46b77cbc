package cassette

import (
	"errors"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// What KeepLast learns is bounded more tightly than what Record does: it runs
// with pulls of any length.
const (
	lastLearned = 20_000
	lastPlain   = 100_000
)

// KeepLast starts a recorder that holds what was said last in memory, redacted,
// and writes it to path only when [Recorder.Failed] says so. Nothing is written
// where nothing fails. What is written is a cassette, although one that cannot
// be replayed from its beginning: it is there to be read.
//
// Beyond a number of values that it can remember, it hides whatever in the paths
// and queries of requests could be one of those that it has forgotten.
func KeepLast(path string, o Options) *Recorder {
	if o.Last == 0 {
		o.Last = 4 << 20
	}
	r := &Recorder{redactor: newRedactor(o.Secrets, o.Streams), max: o.MaxSize, maxBody: o.MaxBody}
	r.redactor.mostLearned, r.redactor.mostPlain, r.redactor.strict = lastLearned, lastPlain, true
	if r.max == 0 {
		r.max = 16 * o.Last
	}
	if r.maxBody == 0 {
		r.maxBody = o.Last / 4
	}
	r.last = &ring{path: path, most: o.Last}
	return r
}

// Failed notes that a call failed, a pull of req if it has a stream. For KeepLast
// it writes what was said last, and begins anew; otherwise it does nothing.
func (r *Recorder) Failed(req connector.Request, cause error) {
	if r.last == nil {
		return
	}
	text, err := encodeLine(line{Failure: &failure{pull: r.pull(req), Error: r.redactor.prose(cause.Error())}})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	if r.file == nil {
		if r.err = r.create(); r.err != nil {
			return
		}
	}
	for _, kept := range r.last.take() {
		if !r.full {
			r.put(kept, nil)
		}
	}
	if !r.full {
		r.put(text, err)
	}
}

// create opens the file at last. One that is there belongs to an earlier process
// of the same run and is gone on with.
func (r *Recorder) create() error {
	file, err := os.OpenFile(r.last.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	r.file = file
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if r.size = info.Size(); r.size > 0 {
		there, err := decode(file)
		if err == nil {
			r.full = there.full != 0
		}
		return err
	}
	heading, err := encodeLine(line{Cassette: version})
	r.put(heading, err)
	return r.err
}

// A ring holds the last lines, up to a number of bytes.
type ring struct {
	path  string
	lines [][]byte
	size  int64
	most  int64
}

func (r *ring) add(text []byte) {
	if int64(len(text)) > r.most {
		text, _ = encodeLine(line{Failure: &failure{Error: errTooLong.Error()}})
	}
	r.lines = append(r.lines, text)
	r.size += int64(len(text))
	for r.size > r.most {
		r.size -= int64(len(r.lines[0]))
		r.lines[0] = nil // the slice moves on, the text is free
		r.lines = r.lines[1:]
	}
}

var errTooLong = errors.New("an exchange here was longer than all that is kept")

func (r *ring) take() [][]byte {
	lines := r.lines
	r.lines, r.size = nil, 0
	return lines
}

// overflows reports whether nothing more is learned; it is called under the lock.
func (r *redactor) overflows() bool {
	return len(r.learned) >= r.mostLearned || len(r.plain) >= r.mostPlain
}

// forgotten reports whether a value of a request could be a personal one that an
// answer gave and that was not remembered.
func (r *redactor) forgotten(value string) bool {
	if !r.strict || len(value) < shortestLearned || date.MatchString(value) || !strings.ContainsAny(value, "0123456789@ ") {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.overflows() && !r.plain[hash(value)]
}

var word = regexp.MustCompile(`[^\s"'/?&=,;:()\[\]]+`)

// prose returns a text in which personal values may stand as words or as parts of
// a URL.
func (r *redactor) prose(s string) string {
	return r.text(word.ReplaceAllStringFunc(s, func(found string) string {
		if plain, err := url.PathUnescape(found); err == nil && plain != found {
			if clean := r.text(plain); clean != plain {
				return clean
			}
		}
		return r.text(found)
	}))
}
