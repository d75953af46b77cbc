package manners

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/winchdata/winch/pkg/connector"
)

// proxy starts an HTTP proxy that connects whoever knows the password to address,
// whatever host it is asked for, and else answers with a status.
func proxy(t *testing.T, address string, status int) (proxyURL string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var hosts []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		hosts = append(hosts, r.Method+" "+r.Host)
		mu.Unlock()
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		if r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpwJnNz" { // user:p&ss
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer from.Close()
		_, _ = io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n")
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(to, from); _ = to.(*net.TCPConn).CloseWrite() })
		_, _ = io.Copy(from, to)
		_ = from.Close()
		both.Wait()
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("user", "p&ss")
	return u.String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return hosts
	}
}

func get(t *testing.T, transport *http.Transport, address string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestHTTPSGoesThroughTheProxyAndLoopbackDoesNot(t *testing.T) {
	t.Parallel()
	vendor := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello "+r.Host)
	}))
	t.Cleanup(vendor.Close)
	proxyURL, asked := proxy(t, vendor.Listener.Addr().String(), http.StatusOK)
	shared, err := Through(proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Through(proxyURL); err != nil || again != shared {
		t.Error("each source has connections of its own")
	}
	transport := shared.Clone()
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig = vendor.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	if got, err := get(t, transport, "https://example.com/x"); err != nil || got != "hello example.com" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := get(t, transport, vendor.URL); err != nil || !strings.HasPrefix(got, "hello 127.0.0.1") {
		t.Errorf("%q, %v", got, err)
	}
	if got := asked(); len(got) != 1 || got[0] != "CONNECT example.com:443" {
		t.Errorf("the proxy was asked %q", got)
	}
}

func TestWhatAProxyMeansIsTold(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		kind  connector.Kind
		retry bool
		hint  string
	}{
		http.StatusProxyAuthRequired:  {connector.KindConfig, false, "check user name and password in proxy_url"},
		http.StatusForbidden:          {connector.KindConfig, false, "the proxy must allow connections to example.com:443"},
		http.StatusNotFound:           {connector.KindConfig, false, "is proxy_url right?"},
		http.StatusBadGateway:         {connector.KindUnavailable, true, ""},
		http.StatusServiceUnavailable: {connector.KindUnavailable, true, ""},
	} {
		proxyURL, _ := proxy(t, "", status)
		transport, err := Through(proxyURL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = get(t, transport, "https://example.com/x")
		failure, retry := Unreachable(err, "example.com")
		if failure.Kind != want.kind || retry != want.retry || failure.Hint != want.hint ||
			!strings.Contains(failure.Error(), "the proxy 127.0.0.1") || !strings.Contains(failure.Error(), Status(status)) {
			t.Errorf("%d: %v (%s, %q, again %t)", status, failure, failure.Kind, failure.Hint, retry)
		}
		if strings.Contains(failure.Error(), "p&ss") || strings.Contains(failure.Error(), "p%26ss") {
			t.Errorf("%d: the error shows the password: %v", status, failure)
		}
	}
}

func TestAProxyThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	transport, err := Through(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = get(t, transport, "https://example.com/x")
	failure, retry := Unreachable(err, "example.com")
	if failure.Error() != "nothing listens at the proxy (connection refused)" || failure.Hint != "check proxy_url" || !retry {
		t.Errorf("%v (%q, again %t)", failure, failure.Hint, retry)
	}
}

func TestProxiesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"proxy:3128", "socks5://proxy:1080", "http://", "http://user:canary@proxy/path", "http://user:canary@proxy?x", "http://%zz:canary@proxy"} {
		_, err := Through(text)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if transport, err := Through(""); err != nil || transport != Transport() || transport.Proxy != nil {
		t.Errorf("without a proxy: %v", err)
	}
}
