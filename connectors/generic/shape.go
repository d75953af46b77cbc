package generic

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// shape makes a record of what the vendor sent, or nil of what does not belong
// to the window.
func (s *source) shape(st *stream, values scope, w connector.Window, raw []byte) (record []byte, err error) {
	if raw[0] != '{' {
		return nil, badResponse("%w", errNotObject)
	}
	if !w.IsZero() && st.window != nil && !st.inWindow(w, raw) {
		return nil, nil
	}
	for _, add := range st.added {
		if add.outer != nil || scalarText(rest.Field(raw, add.name)) != "" {
			continue
		}
		text, err := add.text.fill(values, nil)
		if err != nil {
			return nil, err
		}
		if raw, err = rest.AddField(raw, add.name, text); err != nil {
			return nil, err
		}
	}
	if s.cfg.PersonalData == personalKeep {
		return raw, nil
	}
	for _, path := range st.personal {
		if raw, err = s.protect(raw, path); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// inWindow reports whether a record belongs to the window asked for (P9). One
// whose time cannot be read does: the agent will say what is wrong with it.
func (st *stream) inWindow(w connector.Window, raw []byte) bool {
	t, ok := timeOf(raw, st.window)
	return !ok || w.Contains(t)
}

// timeOf reads the time of a record.
func timeOf(raw []byte, w *window) (time.Time, bool) {
	text := scalarText(rest.Field(raw, w.source...))
	for _, format := range w.formats {
		if format == "unix" || format == "unix_ms" {
			n, err := strconv.ParseInt(text, 10, 64)
			switch {
			case err != nil:
				continue
			case format == "unix":
				return time.Unix(n, 0), true
			default:
				return time.UnixMilli(n), true
			}
		}
		if t, err := time.Parse(format, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// formatTime writes a time as a manifest's format says.
func formatTime(t time.Time, format string) string {
	switch format {
	case "unix":
		return strconv.FormatInt(t.Unix(), 10)
	case "unix_ms":
		return strconv.FormatInt(t.UnixMilli(), 10)
	default:
		return t.Format(format)
	}
}

// protect drops or hashes what stands at a path of a record. The other values
// keep their bytes, apart from white space around them.
func (s *source) protect(raw []byte, path []string) ([]byte, error) {
	value := rest.Field(raw, path[0])
	if value == nil || raw[0] != '{' {
		return raw, nil
	}
	if len(path) > 1 {
		inner, err := s.protect(value, path[1:])
		if err != nil {
			return nil, err
		}
		if bytes.Equal(inner, value) {
			return raw, nil
		}
		return rest.AddField(raw, path[0], json.RawMessage(inner))
	}
	if s.cfg.PersonalData == personalDrop {
		return rest.DropField(raw, path[0])
	}
	decoded, err := decodeJSON(value)
	if err != nil {
		return nil, errors.New("a record's field is not JSON")
	}
	return rest.AddField(raw, path[0], s.hashed(decoded))
}

// hashed replaces each text, number and flag in a value by its hash. Keys, nulls
// and empty texts stay, so that what is absent can still be told.
func (s *source) hashed(value any) any {
	switch v := value.(type) {
	case map[string]any:
		hashed := make(map[string]any, len(v))
		for name, inner := range v {
			hashed[name] = s.hashed(inner)
		}
		return hashed
	case []any:
		hashed := slices.Clone(v)
		for i := range hashed {
			hashed[i] = s.hashed(hashed[i])
		}
		return hashed
	}
	text := textOf(value)
	if text == "" {
		return value
	}
	if s.cfg.HashSalt.IsZero() {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	mac := hmac.New(sha256.New, []byte(s.cfg.HashSalt.Reveal()))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}
