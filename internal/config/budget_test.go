package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourcesOfOneAccountShareItsBudget(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "winch.yaml")
	err := os.WriteFile(file, []byte(`sources:
  se: {connector: kaisa, config: {client_id: "account-7", client_secret: a}}
  no: {connector: kaisa, config: {client_id: "${env:ACCOUNT}", client_secret: b}}
  other_account: {connector: kaisa, config: {client_id: account-8, client_secret: c}}
  other_vendor: {connector: fospha, config: {client_id: account-7, client_secret: d}}
  digest: {connector: kaisa, config: {username: account-7, password: e}}
  unknown: {connector: kaisa, config: {client_id: "${env:ABSENT}", client_secret: f}}
  none: {connector: kaisa}
  named: {connector: kaisa, budget: night, config: {client_id: account-7, client_secret: g}}
  named_too: {connector: fospha, budget: night}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(Options{Path: file, Environ: []string{"ACCOUNT=account-7"}, Names: []string{"kaisa", "fospha"}})
	if err != nil {
		t.Fatal(err)
	}
	budgets := map[string]string{}
	for _, s := range cfg.Sources {
		budgets[s.Name] = s.SharedBudget(t.Context())
		if strings.Contains(budgets[s.Name], "account-7") {
			t.Errorf("%s: the account is shown: %s", s.Name, budgets[s.Name])
		}
	}
	if budgets["se"] == "" || budgets["se"] != budgets["no"] {
		t.Errorf("two sources of one account: %q and %q", budgets["se"], budgets["no"])
	}
	for _, other := range []string{"other_account", "other_vendor", "digest", "unknown", "none", "named"} {
		if budgets[other] == budgets["se"] {
			t.Errorf("%s has the budget of se", other)
		}
	}
	if budgets["unknown"] != "" || budgets["none"] != "" || budgets["named"] != "night" || budgets["named_too"] != "night" {
		t.Errorf("budgets %v", budgets)
	}
}
