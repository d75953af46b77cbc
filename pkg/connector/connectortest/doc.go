// Package connectortest is the exam of connectors: it says whether a connector
// keeps the contract of package connector, the rules of token flows, and its
// temper when the vendor misbehaves.
//
// A connector written in Go is examined by a test,
//
//	func TestExam(t *testing.T) {
//		connectortest.Run(t, connectortest.Candidate{
//			Definition: Definition(),
//			Vendor:     fakeVendor, // an http.Handler
//			Settings: map[string]any{
//				"client_id": "id", "client_secret": "a secret to look for",
//				"token_url": "/oauth2/token", "base_url": "/v1", // on the Vendor
//			},
//		})
//	}
//
// and an executable in any language by
//
//	winch connector test ./winch-connector-NAME --settings settings.yaml
//
// # The gate
//
// The author gives a vendor that behaves: a handler, or one at the addresses in
// the settings token_url and base_url, such as the sandbox. The exam misbehaves
// in its place. Between connector and vendor it puts a gate, a reverse proxy that
// sees every request and can answer instead of the vendor: 401, 429, 503, HTML,
// half an answer, a redirect to a host that is not the vendor's, or nothing for a
// while. A connector needs no other ability for it than the two settings that
// every connector has.
//
// # Results
//
// Each [Check] is one rule, and data: an id, what it demands, what a failure
// would do to whoever relies on the connector. It passes, fails with what was
// seen, or does not apply, with the ability that the candidate lacks. Nothing is
// left out in silence.
//
// Everything goes over the real wire: to an executable in a process of its own,
// to a Definition over the same protocol in memory. What the wire hides, such as
// the error that Pull returned after a cancellation, is examined beside it where
// there is a Definition; and what only a process has, such as children, where
// there is an executable.
package connectortest
