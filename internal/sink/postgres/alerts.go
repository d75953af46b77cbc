package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/sink"
)

// RaiseAlert implements sink.Alerts.
func (s *Sink) RaiseAlert(ctx context.Context, k sink.AlertKey, detail, message string) (bool, error) {
	return s.alert(ctx, "raise an alert", k, message, `INSERT INTO winch.alerts (alert, source, stream, event, detail, raised_at) VALUES ($1, $2, $3, $4, $5, clock_timestamp())
		ON CONFLICT (alert, source, stream, event) DO UPDATE SET detail = excluded.detail, raised_at = excluded.raised_at
		WHERE alerts.detail <> excluded.detail`, k.Alert, k.Source, k.Stream, k.Event, detail)
}

// ClearAlert implements sink.Alerts.
func (s *Sink) ClearAlert(ctx context.Context, k sink.AlertKey, message string) (bool, error) {
	return s.alert(ctx, "clear an alert", k, message, "DELETE FROM winch.alerts WHERE alert = $1 AND source = $2 AND stream = $3 AND event = $4",
		k.Alert, k.Source, k.Stream, k.Event)
}

// alert changes what is the matter and, if that changes anything, records what is
// told of it.
func (s *Sink) alert(ctx context.Context, op string, k sink.AlertKey, message, statement string, args ...any) (changed bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, statement, args...)
		changed = tag.RowsAffected() == 1
		if err != nil || !changed || message == "" {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO winch.alert_messages (alert, message, recorded_at) VALUES ($1, $2, clock_timestamp())", k.Alert, storable(message))
		return err
	})
	return changed && err == nil, fault(ctx, op, err)
}

// ClaimAlerts implements sink.Alerts.
func (s *Sink) ClaimAlerts(ctx context.Context, alerts []string, claim time.Duration) (pending []sink.PendingAlert, err error) {
	const query = `UPDATE winch.alert_messages SET claimed_until = clock_timestamp() + $2 WHERE alert = ANY ($1)
	AND NOT EXISTS (SELECT FROM winch.alert_messages c WHERE c.alert = alert_messages.alert AND c.claimed_until > clock_timestamp())
RETURNING id, alert, message`
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// One claims at a time: two statements would not see each other's claims.
		if _, err := tx.Exec(ctx, "LOCK TABLE winch.alert_messages IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM winch.alert_messages WHERE recorded_at < clock_timestamp() - $1::interval", sink.AlertKept); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, query, alerts, claim)
		if err != nil {
			return err
		}
		pending, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sink.PendingAlert])
		return err
	})
	slices.SortFunc(pending, func(a, b sink.PendingAlert) int { return cmp.Compare(a.ID, b.ID) })
	return pending, fault(ctx, "claim alerts", err)
}

// AlertTold implements sink.Alerts.
func (s *Sink) AlertTold(ctx context.Context, id int64) error {
	_, err := s.pool.Exec(ctx, "DELETE FROM winch.alert_messages WHERE id = $1", id)
	return fault(ctx, "forget an alert", err)
}

// ReleaseAlerts implements sink.Alerts.
func (s *Sink) ReleaseAlerts(ctx context.Context, ids []int64) error {
	_, err := s.pool.Exec(ctx, "UPDATE winch.alert_messages SET claimed_until = NULL WHERE id = ANY ($1)", ids)
	return fault(ctx, "release alerts", err)
}
