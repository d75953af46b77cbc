package contentsquare

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// pulling is one pull of one project.
type pulling struct {
	*project
	s   *source
	st  stream
	req connector.Request
	out connector.Emitter
}

// Pull reads a stream of one project, or one window of it.
func (s *source) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	st, err := s.stream(req.Stream)
	if err != nil {
		return err
	}
	if st.pull == nil {
		all, err := s.account.list(ctx)
		if err != nil {
			return err
		}
		for _, p := range all {
			if err := out.Record(p.raw); err != nil {
				return err
			}
		}
		return nil
	}
	if st.Mode == connector.ModeWindow && !req.Window.Until.After(req.Window.Since) {
		return &connector.Error{Kind: connector.KindConfig, Op: st.Name, Err: fmt.Errorf("window %s: want one that begins before it ends", req.Window)}
	}
	p, err := s.partition(req.Partition)
	if err != nil {
		return at(st.Name, err)
	}
	return s.explain(p, st, st.pull(ctx, &pulling{project: p, s: s, st: st, req: req, out: &guarded{Emitter: out}}))
}

// guarded remembers the emitter's error, so that nothing is emitted after it
// (P3).
type guarded struct {
	connector.Emitter
	err error
}

func (g *guarded) Record(raw []byte) error {
	if g.err == nil {
		g.err = g.Emitter.Record(raw)
	}
	return g.err
}

func (g *guarded) Checkpoint(c connector.Cursor) error {
	if g.err == nil {
		g.err = g.Emitter.Checkpoint(c)
	}
	return g.err
}

// op says in errors what is read.
func (r *pulling) op(parts ...string) string {
	return strings.Join(append([]string{r.st.Name, "project " + r.req.Partition}, parts...), " ")
}

// A stamp is what is added to the records of one request, as the inside of a JSON
// object.
type stamp []byte

func newStamp(project int64) stamp { return fmt.Appendf(nil, `"%s":%d`, projectID, project) }

func (s stamp) with(name string, value any) stamp {
	text, err := json.Marshal(value)
	if err != nil {
		panic("contentsquare: a stamp of a type that JSON does not have") // ids and names alone come here
	}
	return fmt.Appendf(bytes.Clone(s), `,"%s":%s`, name, text)
}

// on appends the stamp to raw, which is a valid JSON object, and the result to
// dst. It comes last: of two fields of one name the last counts, and the key must
// be that of the request.
func (s stamp) on(dst, raw []byte) []byte {
	raw = bytes.TrimSpace(raw)
	inside := bytes.TrimSpace(raw[1 : len(raw)-1])
	dst = append(dst, '{')
	if len(inside) > 0 {
		dst = append(append(dst, inside...), ',')
	}
	return append(append(dst, s...), '}')
}

// isObject reports whether raw, which is valid JSON, is an object.
func isObject(raw []byte) bool { return len(raw) > 1 && raw[0] == '{' }
