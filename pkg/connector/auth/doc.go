// Package auth has the parts of token flows: a client-credentials exchange that
// bends to what vendors really do, a cache that renews tokens ahead of their end
// and once after a 401, and HTTP Digest for accounts that predate tokens.
//
// A connector puts the parts together in its Open:
//
//	credentials := auth.ClientCredentials{
//		TokenURL:        "https://auth.example.com/oauth2/token",
//		ClientID:        cfg.ClientID,
//		ClientSecret:    cfg.ClientSecret,
//		Encoding:        auth.Form,
//		DefaultLifetime: 5 * time.Minute,
//	}
//	if err := credentials.Validate(); err != nil {
//		return nil, err
//	}
//	tokens := auth.NewCache(credentials.Fetch, auth.Policy{})
//	client, err := rest.New(rest.Options{BaseURL: cfg.BaseURL, Auth: tokens})
//
// One cache holds one credential. It is shared by everything that uses the
// credential, so that one renewal serves all.
package auth
