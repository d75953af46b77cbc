package sqlite

import (
	"context"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// RaiseAlert implements sink.Alerts.
func (s *Sink) RaiseAlert(ctx context.Context, k sink.AlertKey, detail string) (bool, error) {
	return s.changed(ctx, "raise an alert", `INSERT INTO "winch.alerts" (alert, source, stream, event, detail, raised_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (alert, source, stream, event) DO UPDATE SET detail = excluded.detail, raised_at = excluded.raised_at
		WHERE "winch.alerts".detail <> excluded.detail`, k.Alert, k.Source, k.Stream, k.Event, detail, timestamp(time.Now()))
}

// ClearAlert implements sink.Alerts.
func (s *Sink) ClearAlert(ctx context.Context, k sink.AlertKey) (bool, error) {
	return s.changed(ctx, "clear an alert", `DELETE FROM "winch.alerts" WHERE alert = ? AND source = ? AND stream = ? AND event = ?`,
		k.Alert, k.Source, k.Stream, k.Event)
}
