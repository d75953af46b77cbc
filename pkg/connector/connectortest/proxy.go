package connectortest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// A closedProxy is an HTTP proxy that lets nobody through and remembers who
// wanted to.
type closedProxy struct {
	url   string // with user and password
	close func()

	mu       sync.Mutex
	asked    []string // hosts with ports
	nameless bool     // somebody came without user and password
}

// proxyPassword must not come out of the connector (P10).
const proxyPassword = "exam-proxy-password"

func newClosedProxy() (*closedProxy, error) {
	proxy := &closedProxy{}
	user := url.UserPassword("exam", proxyPassword)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(user.String()))
	var servers sync.WaitGroup
	l, closeServer, err := listen(&servers, func(w http.ResponseWriter, r *http.Request) {
		proxy.mu.Lock()
		defer proxy.mu.Unlock()
		if r.Method == http.MethodConnect {
			proxy.asked = append(proxy.asked, r.Host)
			proxy.nameless = proxy.nameless || r.Header.Get("Proxy-Authorization") != basic
		}
		w.WriteHeader(http.StatusForbidden)
	})
	if err != nil {
		return nil, err
	}
	proxy.url = (&url.URL{Scheme: "http", User: user, Host: l.Addr().String()}).String()
	proxy.close = func() {
		closeServer()
		servers.Wait()
	}
	return proxy, nil
}

// checkProxy moves first the token endpoint and then the API to a host that is not
// this machine, which the proxy is then asked for.
func checkProxy(ctx context.Context, e *exam) (string, error) {
	setting, ok := e.schema.Properties["proxy_url"]
	if !ok {
		return "", lacks("the settings have no proxy_url: where there is no way to the vendor but a proxy, this connector cannot be used")
	}
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	var p problems
	if !setting.WriteOnly {
		p.addf("the setting proxy_url can hold a password and is not marked writeOnly")
	}
	for _, key := range []string{"token_url", "base_url"} {
		if _, ok := e.candidate.text(key); ok && (key == "base_url" || e.signed) {
			if err := e.proxied(ctx, lead, key, &p); err != nil {
				return "", err
			}
		}
	}
	return "", p.err()
}

func (e *exam) proxied(ctx context.Context, lead *slice, key string, p *problems) error {
	s, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	proxy, err := newClosedProxy()
	if err != nil {
		return err
	}
	defer proxy.close()
	e.secrets.add("the proxy's password", proxyPassword)
	upstream := map[string]*url.URL{"token_url": s.gate.token, "base_url": s.gate.api}[key]
	away := url.URL{Scheme: "https", Host: "vendor.invalid", Path: upstream.Path}
	cfg, err := e.candidate.config(s.gate, map[string]any{key: away.String(), "proxy_url": proxy.url})
	if err != nil {
		return err
	}
	if s.source, err = s.wire.Open(ctx, cfg); err != nil {
		e.told("Open", err)
		s.source = nil
		p.addf("with proxy_url: %v", err)
		return nil
	}
	var r recording
	failed := s.pull(ctx, lead.req, &r)
	if failed == nil || gaveUp(failed) {
		p.addf("with a proxy that lets nobody through to %s: %s, want an error", key, describe(failed))
	}
	if name, ok := e.secrets.holds(fmt.Sprint(failed)); ok {
		p.addf("the error of a proxy shows %s", name)
	}
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	switch {
	case len(proxy.asked) == 0:
		p.addf("the proxy was not asked for the host of %s", key)
	case slices.ContainsFunc(proxy.asked, func(host string) bool { return host != away.Host+":443" }):
		p.addf("the proxy was asked for %q, want the host of %s alone and no loopback host", proxy.asked, key)
	case proxy.nameless:
		p.addf("the proxy was asked without the user and password of proxy_url")
	}
	return nil
}
