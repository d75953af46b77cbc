package sink

import (
	"context"
	"time"
)

// An AlertKey names what a webhook is told about: one thing that can be the matter
// with a stream, or with the source as a whole.
type AlertKey struct {
	Alert  string // the webhook's name in the configuration
	Source string
	Stream string // empty for the source as a whole
	Event  string
}

// A PendingAlert is a message that a webhook is still to be told.
type PendingAlert struct {
	ID      int64
	Alert   string
	Message string // JSON
}

// AlertKept is how long a message is kept that cannot be told.
const AlertKept = 3 * 24 * time.Hour

// Alerts keeps what is the matter and what webhooks are to be told of it, so that each
// is told at least once whoever tells it and whoever dies, and not again however
// often the agent starts.
type Alerts interface {
	// RaiseAlert records that something is the matter, and reports whether that is
	// news: it was not recorded yet, or with another detail. If so, the message is
	// recorded in the same transaction. Of several agents that raise the same at the
	// same time one is told so.
	RaiseAlert(ctx context.Context, key AlertKey, detail, message string) (news bool, err error)
	// ClearAlert forgets that something was the matter, and reports whether it was. If
	// so, a message that is not empty is recorded in the same transaction.
	ClearAlert(ctx context.Context, key AlertKey, message string) (was bool, err error)
	// ClaimAlerts returns what the webhooks are to be told, in its order, and leaves it
	// to the caller for that long. What an agent has claimed of a webhook keeps the
	// webhook's other messages back, so that they stay in order. Messages older than
	// AlertKept are forgotten.
	ClaimAlerts(ctx context.Context, alerts []string, claim time.Duration) ([]PendingAlert, error)
	// AlertTold forgets a message that the webhook has taken.
	AlertTold(ctx context.Context, id int64) error
	// ReleaseAlerts lets anybody tell the messages at once.
	ReleaseAlerts(ctx context.Context, ids []int64) error
}
