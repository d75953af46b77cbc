package rest

import (
	"fmt"
	"net/http"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/internal/manners"
)

// Through returns the Transport, of Options and of auth.ClientCredentials, that
// goes through an HTTP proxy: the connector's setting proxy_url, which is a Secret
// as it may hold a password. Empty is the shared transport without one. Hosts are
// reached by CONNECT, loopback hosts directly; the variables HTTP_PROXY and
// HTTPS_PROXY count for nothing. An error is of KindConfig.
func Through(proxy connector.Secret) (*http.Transport, error) {
	transport, err := manners.Through(proxy.Reveal())
	if err != nil {
		return nil, &connector.Error{Kind: connector.KindConfig, Err: fmt.Errorf("proxy_url: %w", err)}
	}
	return transport, nil
}
