package postgres

import (
	"context"

	"github.com/winchdata/winch/internal/sink"
)

// RaiseAlert implements sink.Alerts.
func (s *Sink) RaiseAlert(ctx context.Context, k sink.AlertKey, detail string) (bool, error) {
	tag, err := s.pool.Exec(ctx, `INSERT INTO winch.alerts (alert, source, stream, event, detail, raised_at) VALUES ($1, $2, $3, $4, $5, clock_timestamp())
		ON CONFLICT (alert, source, stream, event) DO UPDATE SET detail = excluded.detail, raised_at = excluded.raised_at
		WHERE alerts.detail <> excluded.detail`, k.Alert, k.Source, k.Stream, k.Event, detail)
	return tag.RowsAffected() == 1, fault(ctx, "raise an alert", err)
}

// ClearAlert implements sink.Alerts.
func (s *Sink) ClearAlert(ctx context.Context, k sink.AlertKey) (bool, error) {
	tag, err := s.pool.Exec(ctx, "DELETE FROM winch.alerts WHERE alert = $1 AND source = $2 AND stream = $3 AND event = $4",
		k.Alert, k.Source, k.Stream, k.Event)
	return tag.RowsAffected() == 1, fault(ctx, "clear an alert", err)
}
