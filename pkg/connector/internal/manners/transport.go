package manners

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// Transport returns the transport that all clients of a process share, with
// bounds that http.DefaultTransport lacks. It uses no proxy, whatever the
// environment says.
var Transport = sync.OnceValue(func() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.ResponseHeaderTimeout = time.Minute
	t.MaxResponseHeaderBytes = 1 << 20
	t.MaxIdleConnsPerHost = 16
	return t
})

// proxied has the transports that go through a proxy, by its URL.
var proxied sync.Map

// Through returns Transport for an empty text, and else the transport that all
// clients share that go through the same HTTP proxy. Loopback hosts are never
// behind it; as all others are https, it sees the names of hosts and nothing more.
// The error does not show the text, which may hold a password.
func Through(proxy string) (*http.Transport, error) {
	if proxy == "" {
		return Transport(), nil
	}
	u, err := url.Parse(proxy)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("not the URL of a proxy: want one such as http://user:password@proxy.example.com:3128")
	}
	if known, ok := proxied.Load(proxy); ok {
		return known.(*http.Transport), nil
	}
	t := Transport().Clone()
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if Loopback(req.URL.Hostname()) {
			return nil, nil
		}
		return u, nil
	}
	t.OnProxyConnectResponse = proxyAnswered
	known, _ := proxied.LoadOrStore(proxy, t)
	return known.(*http.Transport), nil
}

// proxyAnswered says what a proxy means that makes no connection.
func proxyAnswered(_ context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
	said := fmt.Errorf("the proxy %s answers %s", proxy.Host, Status(resp.StatusCode))
	hint := cmp.Or(map[int]string{
		http.StatusProxyAuthRequired: "check user name and password in proxy_url",
		http.StatusForbidden:         "the proxy must allow connections to " + req.Host,
		http.StatusMethodNotAllowed:  "is proxy_url right? it does not take CONNECT",
	}[resp.StatusCode], "is proxy_url right?")
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode/100 == 5, resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%w for %s", said, req.Host)
	}
	return &connector.Error{Kind: connector.KindConfig, Err: said, Hint: hint}
}
