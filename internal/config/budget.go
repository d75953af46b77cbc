package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// accountKeys are the settings by which connectors name the account they log in
// to. None is a secret.
var accountKeys = []string{"client_id", "username"}

// SharedBudget names the allowance of the vendor that the source uses up: sources
// of one name are pulled one after the other. It is what the configuration says, or
// else stands for the connector and the account, as a hash. It is empty if there is
// neither, or if the account cannot be resolved, which opening the source will tell.
func (s *Source) SharedBudget(ctx context.Context) string {
	if s.budget != "" {
		return s.budget
	}
	settings := s.settings()
	for _, name := range accountKeys {
		account, ok := settings.values[name].(string)
		if !ok || account == "" {
			continue
		}
		if t := settings.templates[settings.at.key(name).id()]; t != nil {
			if t.env == nil {
				return ""
			}
			text, problems := newResolver(t.env).text(ctx, t)
			if len(problems) > 0 || ctx.Err() != nil {
				return ""
			}
			account = text
		}
		sum := sha256.Sum256([]byte(strings.Join([]string{"winch budget", s.Connector, name, account}, "\x00")))
		return "account " + hex.EncodeToString(sum[:8])
	}
	return ""
}
