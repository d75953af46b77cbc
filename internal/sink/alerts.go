package sink

import "context"

// An AlertKey names what a webhook is told about: one thing that can be the matter
// with a stream, or with the source as a whole.
type AlertKey struct {
	Alert  string // the webhook's name in the configuration
	Source string
	Stream string // empty for the source as a whole
	Event  string
}

// Alerts keeps what webhooks were told, so that each is told once whoever tells
// it and however often the agent starts.
type Alerts interface {
	// RaiseAlert records that the webhook is told, and reports whether that is news:
	// it was not told yet, or with another detail. Of several agents that raise the
	// same at the same time one is told so.
	RaiseAlert(ctx context.Context, key AlertKey, detail string) (news bool, err error)
	// ClearAlert forgets that the webhook was told, and reports whether it was.
	ClearAlert(ctx context.Context, key AlertKey) (was bool, err error)
}
