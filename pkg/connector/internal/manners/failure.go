package manners

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/winchdata/winch/pkg/connector"
)

// Unreachable turns the error of a request that got no whole answer into one that
// says what is wrong with host and what to check. retry is false where trying
// again cannot help. The result never looks like a cancelled context: whether
// the caller gave up is the caller's to find out first.
func Unreachable(err error, host string, secrets ...string) (failure *connector.Error, retry bool) {
	var outer *url.Error
	for errors.As(err, &outer) {
		err = outer.Err // a *url.Error prints the query
	}
	var told *connector.Error
	if errors.As(err, &told) {
		return told, false // no vendor was asked: a cassette has no answer, or a proxy refuses
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		name := "the proxy"
		if dns := (*net.DNSError)(nil); errors.As(op.Err, &dns) {
			name = dns.Name
		}
		failure, retry = Unreachable(op.Err, name, secrets...)
		failure.Hint = "check proxy_url"
		return failure, retry
	}
	fail := func(text, hint string) *connector.Error {
		return &connector.Error{Kind: connector.KindUnavailable, Err: errors.New(text), Hint: hint}
	}
	// Whom to trust and where to go is settings, not weather: no later attempt mends it.
	misdirected := func(text, hint string) *connector.Error {
		return &connector.Error{Kind: connector.KindConfig, Err: errors.New(text), Hint: hint}
	}

	var dns *net.DNSError
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		text := "no address found for host " + host
		if dns.IsTimeout {
			text = "the name server did not answer for host " + host
		}
		return fail(text, "check the host name in base_url and token_url, and this machine's DNS"), true
	case errors.As(err, &certificate):
		return misdirected(certificateText(certificate, host),
			"check the host name, this machine's clock and its trusted certificates (SSL_CERT_FILE names a file with others), and whether a proxy stands between"), false
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return misdirected(host+" does not speak TLS", "check host and port in base_url and token_url"), false
	case strings.Contains(err.Error(), "tls: "):
		return fail("no TLS connection to "+host+": "+Scrub(err.Error(), secrets...),
			"check host and port, and whether a proxy stands between"), true
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail("nothing listens at "+host+" (connection refused)",
			"check host and port in base_url and token_url, and whether a proxy or firewall stands between"), true
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), strings.Contains(err.Error(), "server closed idle connection"):
		return fail(host+" cut the connection before the answer was whole", ""), true
	case strings.Contains(err.Error(), "malformed HTTP"):
		return fail(host+" sent something that is not HTTP", "check host and port in base_url and token_url"), true
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fail("no answer from "+host+" in time", "check whether a firewall drops the connection"), true
	}
	return fail("no answer from "+host+": "+Scrub(err.Error(), secrets...), ""), true
}

func certificateText(err *tls.CertificateVerificationError, host string) string {
	text := "the certificate of " + host + " cannot be trusted: "
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		return text + "it is for another host"
	case errors.As(err, &authority):
		return text + "it is signed by an unknown authority"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return text + "it has expired or is not valid yet"
	}
	return text + "it is not valid"
}

// Cancelled is the error of an operation whose context ended.
func Cancelled(ctx context.Context, op string) error {
	return fmt.Errorf("%s: %w", op, ctx.Err())
}
