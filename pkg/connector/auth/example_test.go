package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
)

// A vendor whose answer wraps the token in an object, and says with it where
// requests go.
func Example() {
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"data": {"access_token": "sk-0", "expires_in": "3600", "endpoint": "http://%s/v1"}}`, r.Host)
	}))
	defer vendor.Close()

	credentials := auth.ClientCredentials{
		TokenURL:     vendor.URL + "/auth/token",
		ClientID:     "my-client",
		ClientSecret: connector.NewSecret("my-secret"),
		Encoding:     auth.Form,
		Answer: auth.Answer{
			Token:     []string{"data", "access_token"},
			ExpiresIn: []string{"data", "expires_in"},
			BaseURL:   []string{"data", "endpoint"},
		},
		CheckBaseURL: auth.HostsUnder("example.com"),
	}
	if err := credentials.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	tokens := auth.NewCache(credentials.Fetch, auth.Policy{})

	for range 2 { // one fetch serves both
		token, err := tokens.Token(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(token.Type, token.Value, token.BaseURL == vendor.URL+"/v1")
	}
	// Output:
	// Bearer [redacted] true
	// Bearer [redacted] true
}
