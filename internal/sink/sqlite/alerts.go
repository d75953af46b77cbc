package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/winchdata/winch/internal/sink"
)

// RaiseAlert implements sink.Alerts.
func (s *Sink) RaiseAlert(ctx context.Context, k sink.AlertKey, detail, message string) (bool, error) {
	return s.alert(ctx, "raise an alert", k, message, `INSERT INTO "winch.alerts" (alert, source, stream, event, detail, raised_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (alert, source, stream, event) DO UPDATE SET detail = excluded.detail, raised_at = excluded.raised_at
		WHERE "winch.alerts".detail <> excluded.detail`, k.Alert, k.Source, k.Stream, k.Event, detail, timestamp(time.Now()))
}

// ClearAlert implements sink.Alerts.
func (s *Sink) ClearAlert(ctx context.Context, k sink.AlertKey, message string) (bool, error) {
	return s.alert(ctx, "clear an alert", k, message, `DELETE FROM "winch.alerts" WHERE alert = ? AND source = ? AND stream = ? AND event = ?`,
		k.Alert, k.Source, k.Stream, k.Event)
}

// alert changes what is the matter and, if that changes anything, records what is
// told of it.
func (s *Sink) alert(ctx context.Context, op string, k sink.AlertKey, message, statement string, args ...any) (changed bool, err error) {
	err = s.update(ctx, op, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		changed = n > 0
		if err != nil || !changed || message == "" {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO "winch.alert_messages" (alert, message, recorded_at) VALUES (?, ?, ?)`, k.Alert, message, timestamp(time.Now()))
		return err
	})
	return changed && err == nil, err
}

// ClaimAlerts implements sink.Alerts.
func (s *Sink) ClaimAlerts(ctx context.Context, alerts []string, claim time.Duration) (pending []sink.PendingAlert, err error) {
	err = s.update(ctx, "claim alerts", func(tx *sql.Tx) error {
		now := time.Now()
		if _, err := tx.ExecContext(ctx, `DELETE FROM "winch.alert_messages" WHERE recorded_at < ?`, timestamp(now.Add(-sink.AlertKept))); err != nil {
			return err
		}
		all, err := pendingAlerts(ctx, tx, now)
		if err != nil {
			return err
		}
		for _, p := range all {
			if !slices.Contains(alerts, p.Alert) {
				continue
			}
			if _, err := tx.ExecContext(ctx, `UPDATE "winch.alert_messages" SET claimed_until = ? WHERE id = ?`, timestamp(now.Add(claim)), p.ID); err != nil {
				return err
			}
			pending = append(pending, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return pending, nil
}

// pendingAlerts are the messages to webhooks of which nobody has claimed any.
func pendingAlerts(ctx context.Context, tx *sql.Tx, now time.Time) (all []sink.PendingAlert, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, alert, message FROM "winch.alert_messages"
		WHERE alert NOT IN (SELECT alert FROM "winch.alert_messages" WHERE claimed_until > ?) ORDER BY id`, timestamp(now))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p sink.PendingAlert
		if err := rows.Scan(&p.ID, &p.Alert, &p.Message); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// AlertTold implements sink.Alerts.
func (s *Sink) AlertTold(ctx context.Context, id int64) error {
	_, err := s.changed(ctx, "forget an alert", `DELETE FROM "winch.alert_messages" WHERE id = ?`, id)
	return err
}

// ReleaseAlerts implements sink.Alerts.
func (s *Sink) ReleaseAlerts(ctx context.Context, ids []int64) error {
	return s.update(ctx, "release alerts", func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `UPDATE "winch.alert_messages" SET claimed_until = NULL WHERE id = ?`, id); err != nil {
				return err
			}
		}
		return nil
	})
}
