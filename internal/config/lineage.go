package config

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// DefaultLineageEndpoint is the path to which OpenLineage's own clients post.
const DefaultLineageEndpoint = "api/v1/lineage"

// Lineage says who is told where rows come from. What the configuration leaves
// out, the variables of OpenLineage's own clients say.
type Lineage struct {
	// URL is the receiver's, whole; empty for none.
	URL string
	// Namespace is that of jobs; empty if nothing says.
	Namespace string
	// Parent is the run that all runs are part of, as NAMESPACE/JOB/ID; or empty.
	Parent string
	key    hidden[template] // nil without a key
}

// GoString hides the key.
func (l Lineage) GoString() string { return "lineage to " + l.URL }

// String hides the key.
func (l Lineage) String() string { return l.GoString() }

var lineageKeys = []key{
	{name: "url", about: "The receiver: https, or http to this machine. The default is OPENLINEAGE_URL.", example: "https://lineage.example.com", pattern: "^https?://"},
	{name: "endpoint", about: "The path below the URL that events are posted to. The default is OPENLINEAGE_ENDPOINT.", standard: DefaultLineageEndpoint, example: DefaultLineageEndpoint},
	{name: "api_key", about: "What the receiver lets in: sent as a bearer token. The default is OPENLINEAGE_API_KEY.", secret: true, references: true, example: "${env:LINEAGE_KEY}"},
	{name: "namespace", about: "The namespace of jobs. The default is OPENLINEAGE_NAMESPACE.", standard: "winch", example: "production"},
}

func (d *decoder) lineage() Lineage {
	at := path{"telemetry", "openlineage"}
	variable := func(name string) string { return d.env.vars[name] }
	if strings.EqualFold(strings.TrimSpace(variable("OPENLINEAGE_DISABLED")), "true") {
		return Lineage{}
	}
	or := func(key, name string) string {
		if text, ok := d.text(at.key(key)); ok {
			return text
		}
		return variable(name)
	}
	l := Lineage{Namespace: or("namespace", "OPENLINEAGE_NAMESPACE"), Parent: variable("OPENLINEAGE_PARENT_ID")}
	l.URL = d.lineageURL(at.key("url"), or("url", "OPENLINEAGE_URL"), or("endpoint", "OPENLINEAGE_ENDPOINT"))
	l.key = d.lineageKey(at.key("api_key"), variable("OPENLINEAGE_API_KEY"))
	return l
}

func (d *decoder) lineageURL(at path, base, endpoint string) string {
	if base == "" {
		return ""
	}
	where := "telemetry.openlineage.url"
	if _, ok := d.text(at); !ok {
		where = "OPENLINEAGE_URL"
	}
	u, err := url.Parse(base)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(base, "@"), strings.ContainsAny(base, "?#"):
		d.bad(at, redacted, "credentials and a query do not belong in "+where, "give a key as telemetry.openlineage.api_key or OPENLINEAGE_API_KEY")
	case checkReceiver(base) != nil:
		d.bad(at, base, where+": "+checkReceiver(base).Error(), "OPENLINEAGE_DISABLED=true switches lineage off")
	}
	if endpoint == "" {
		endpoint = DefaultLineageEndpoint
	}
	return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(endpoint, "/")
}

func (d *decoder) lineageKey(at path, variable string) hidden[template] {
	text, ok := d.text(at)
	if !ok {
		if variable == "" {
			return nil
		}
		return hide(&template{at: d.origins.of(at), env: d.env, parts: []part{{literal: variable}}})
	}
	parts, err := parseReferences(text)
	if err != nil {
		d.bad(at, redacted, err.Error(), referenceForms)
	}
	return hide(&template{at: d.origins.of(at), dir: d.origins.dirOf(at), env: d.env, parts: parts})
}

// checkReceiver checks the URL of who is told what may be secret. The error shows
// none of it.
func checkReceiver(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("want a URL such as https://hooks.example.com/x")
	}
	ip := net.ParseIP(u.Hostname())
	local := strings.EqualFold(u.Hostname(), "localhost") || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return errors.New("want https: plain http is for this machine alone")
	}
	return nil
}

// APIKey resolves the references in the receiver's key; zero without one. An error
// is Problems, or the context's.
func (l Lineage) APIKey(ctx context.Context) (connector.Secret, error) {
	if l.key == nil {
		return connector.Secret{}, nil
	}
	t := l.key()
	text, problems := newResolver(t.env).text(ctx, t)
	if ctx.Err() != nil {
		return connector.Secret{}, context.Cause(ctx)
	}
	if err := problems.err(); err != nil {
		return connector.Secret{}, err
	}
	return connector.NewSecret(text), nil
}
