package alert

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"

	"github.com/winchdata/winch/internal/post"
)

// Send posts a message, again after a pause while the receiver is away, says that
// it is busy or has an error of its own, and once more after it refused it. The error
// shows nothing of the URL.
func (w Webhook) Send(ctx context.Context, m Message) error {
	if m.ID == "" {
		m.ID, m.At = rand.Text(), now()
	}
	body, err := w.body(m)
	if err != nil {
		return err
	}
	address, err := w.URL(ctx)
	if err != nil {
		return err
	}
	letter := post.Letter{To: "the webhook", URL: address.Reveal(), Body: body}
	letter.Header = map[string]string{"Webhook-Id": m.ID} // also for receivers of a format without an id
	return letter.Send(ctx, post.Attempts)
}

func (w Webhook) body(m Message) ([]byte, error) {
	if w.Format != "slack" {
		return json.Marshal(m)
	}
	text := "*winch " + m.Event + "*: " + m.Text
	if m.Hint != "" {
		text += "\ntry: " + m.Hint
	}
	// Slack reads these three as markup.
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	return json.Marshal(map[string]string{"text": text})
}
