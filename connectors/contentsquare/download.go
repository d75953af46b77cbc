package contentsquare

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
	"github.com/winchdata/winch/pkg/connector/rest"
)

const (
	maxRedirects = 5
	// stalled is how long a download may stand still.
	stalled = 2 * time.Minute
)

// A downloader opens the files of exports. Their addresses come from the vendor's
// answers: it goes to the API's own host and to hosts that the settings allow, by
// https, and shows an address to nobody.
type downloader struct {
	client  *http.Client
	hosts   []string
	base    string // base URL of the settings, if any
	stalled time.Duration
}

func newDownloader(cfg config, transport *http.Transport) *downloader {
	transport = transport.Clone()
	transport.DisableCompression = true // files are compressed by themselves
	transport.ResponseHeaderTimeout = stalled
	d := &downloader{base: cfg.BaseURL, stalled: stalled}
	for _, host := range cfg.DownloadHosts {
		d.hosts = append(d.hosts, hostOf(&url.URL{Scheme: "https", Host: host}))
	}
	d.client = &http.Client{
		Transport:     cassette.Transport(transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return d
}

// errGone is a file that is no longer there, or whose address has ended.
var errGone = errors.New("the file is gone")

func isGone(err error) bool { return errors.Is(err, errGone) }

// open returns the body of a file as it is sent. It is read under ctx.
func (d *downloader) open(ctx context.Context, p *project, address string) (io.ReadCloser, error) {
	target, err := url.Parse(address)
	if err != nil || target.Hostname() == "" {
		return nil, badResponse("the address of the file is not a URL") // the cause would print it
	}
	for range maxRedirects {
		base, err := d.baseURL(ctx, p)
		if err != nil {
			return nil, err
		}
		if err := d.allowed(target, base); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		transfer := rest.Transfer{Method: http.MethodGet, Target: target, Template: "/{}", Since: time.Now()}
		resp, err := d.send(ctx, p, target, base)
		if err != nil {
			cancel(nil)
			return nil, err
		}
		next, err := resp.Location()
		if resp.StatusCode/100 == 3 && err == nil {
			cancel(nil)
			resp.Body.Close()
			target = next
			continue
		}
		if err := status(resp, target); err != nil {
			cancel(nil)
			resp.Body.Close()
			return nil, err
		}
		body := &download{ctx: ctx, body: resp.Body, cancel: cancel, host: target.Host, patience: d.stalled, transfer: transfer}
		body.transfer.Took, body.transfer.Status = time.Since(transfer.Since), resp.StatusCode
		body.timer = time.AfterFunc(d.stalled, func() { cancel(errStalled) })
		return body, nil
	}
	return nil, badResponse("more than %d redirects on the way to the file", maxRedirects)
}

func (d *downloader) baseURL(ctx context.Context, p *project) (*url.URL, error) {
	text := d.base
	if text == "" {
		var err error
		if text, err = p.tokens.BaseURL(ctx); err != nil {
			return nil, err
		}
	}
	base, err := url.Parse(text)
	if err != nil {
		return nil, badResponse("the base URL is not a URL")
	}
	return base, nil
}

// allowed says whether a file may be fetched from there.
func (d *downloader) allowed(u, base *url.URL) error {
	local := isLoopback(u) && isLoopback(base)
	if u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return badResponse("the file is at %s, which is not reached by https", u.Host)
	}
	if hostOf(u) == hostOf(base) || slices.Contains(d.hosts, hostOf(u)) ||
		u.Scheme == "http" && slices.Contains(d.hosts, hostOf(&url.URL{Scheme: "https", Host: u.Host})) {
		return nil
	}
	return &connector.Error{
		// Stops this stream alone: where files lie is not published, so that a
		// person must say what is right.
		Kind: connector.KindForbidden, Err: fmt.Errorf("the file is at %s, which is not allowed", u.Host),
		Hint: fmt.Sprintf("if that is where the vendor keeps the files, add it: download_hosts: [%s]", u.Host),
	}
}

// send asks for a file. The token goes to the vendor's own hosts alone; other
// addresses are taken for pre-signed.
func (d *downloader) send(ctx context.Context, p *project, target, base *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, badResponse("the address of the file is not a URL")
	}
	req.Header.Set("User-Agent", "winch")
	if hostOf(target) == hostOf(base) || underVendor(target) {
		if err := p.tokens.Authorize(req); err != nil {
			return nil, err
		}
	}
	connector.RecordUsage(ctx, connector.Usage{Requests: 1})
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, lost(ctx, target.Host, err)
	}
	return resp, nil
}

// status reads the status of an answer; its body may hold the address and is not
// shown.
func status(resp *http.Response, target *url.URL) error {
	text := fmt.Sprintf("%d %s from %s", resp.StatusCode, http.StatusText(resp.StatusCode), target.Host)
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusForbidden, code == http.StatusNotFound, code == http.StatusGone:
		return badResponse("%w: %s", errGone, text)
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code/100 == 5:
		return &connector.Error{Kind: connector.KindUnavailable, Err: errors.New(text)}
	default:
		return badResponse("%s", text)
	}
}

var errStalled = errors.New("the download stood still")

// lost says why no whole answer came, without the address.
func lost(ctx context.Context, host string, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return &connector.Error{Kind: connector.KindUnavailable, Err: fmt.Errorf("%w: no byte from %s for %s", errStalled, host, stalled)}
	} else if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return &connector.Error{
			// As a host that is not allowed: it concerns this stream alone, and a person.
			Kind: connector.KindForbidden, Err: fmt.Errorf("download from %s: its certificate cannot be trusted: %w", host, certificate.Err),
			Hint: "check download_hosts, this machine's clock and its trusted certificates (SSL_CERT_FILE names a file with others)",
		}
	}
	return &connector.Error{Kind: connector.KindUnavailable, Err: fmt.Errorf("download from %s: %w", host, err)}
}

// A download is the body of a file on its way. It counts what it reads as usage
// and ends when nothing moves for too long.
type download struct {
	ctx      context.Context //nolint:containedctx // of the request whose body this is
	body     io.ReadCloser
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	patience time.Duration
	host     string
	transfer rest.Transfer // without the time that the agent takes
}

func (d *download) Read(p []byte) (int, error) {
	d.timer.Reset(d.patience)
	start := time.Now()
	n, err := d.body.Read(p)
	d.transfer.Took += time.Since(start)
	d.timer.Stop() // what the agent takes its time for is not the vendor's
	d.transfer.Bytes += int64(n)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = lost(d.ctx, d.host, err)
		d.transfer.Err = err
	}
	return n, err
}

func (d *download) Close() error {
	d.timer.Stop()
	connector.RecordUsage(d.ctx, connector.Usage{Bytes: d.transfer.Bytes})
	d.transfer.Record(d.ctx)
	err := d.body.Close()
	d.cancel(nil)
	return err
}

// hostOf is the host with its port, in lower case.
func hostOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func underVendor(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	return u.Scheme == "https" && (u.Port() == "" || u.Port() == "443") && (host == vendorDomain || strings.HasSuffix(host, "."+vendorDomain))
}

func isLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
