package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestWhoIsToldOfLineage(t *testing.T) {
	t.Parallel()
	const configured = "telemetry: {openlineage: {url: \"https://a.example.com/base/\", api_key: \"${env:KEY}\", namespace: ours}}\n"
	variables := []string{"OPENLINEAGE_URL=http://127.0.0.1:5000", "OPENLINEAGE_API_KEY=canary-variable", "OPENLINEAGE_NAMESPACE=theirs", "KEY=canary-key"}
	for name, c := range map[string]struct {
		text                string
		environ             []string
		url, key, namespace string
	}{
		"nobody":              {},
		"configured":          {configured, variables, "https://a.example.com/base/api/v1/lineage", "canary-key", "ours"},
		"by OpenLineage":      {"", variables, "http://127.0.0.1:5000/api/v1/lineage", "canary-variable", "theirs"},
		"another path":        {"", append(variables, "OPENLINEAGE_ENDPOINT=/openapi/lineage"), "http://127.0.0.1:5000/openapi/lineage", "canary-variable", "theirs"},
		"one of them":         {"telemetry: {openlineage: {namespace: ours}}\n", variables, "http://127.0.0.1:5000/api/v1/lineage", "canary-variable", "ours"},
		"a variable of Winch": {"", append(variables, "WINCH_TELEMETRY_OPENLINEAGE_URL=https://b.example.com"), "https://b.example.com/api/v1/lineage", "canary-variable", "theirs"},
		"disabled":            {configured, append(variables, "OPENLINEAGE_DISABLED=true"), "", "", ""},
	} {
		cfg := loadString(t, testOptions(t, c.environ...), c.text)
		l := cfg.Telemetry.Lineage
		key, err := l.APIKey(t.Context())
		if err != nil || l.URL != c.url || key.Reveal() != c.key || l.Namespace != c.namespace {
			t.Errorf("%s: %s, %s, %v", name, l.URL, l.Namespace, err)
		}
		if text := fmt.Sprintf("%v %+v %#v %s %+v", cfg, cfg, cfg, l, cfg.Telemetry); strings.Contains(text, "canary") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestReceiversOfLineageThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, variable, want string }{
		"plain http":           {"telemetry: {openlineage: {url: \"http://lineage.example.com\"}}\n", "", "want https"},
		"plain http, variable": {"", "http://lineage.example.com", "OPENLINEAGE_URL: want https"},
		"credentials":          {"telemetry: {openlineage: {url: \"https://me:canary@lineage.example.com\"}}\n", "", "credentials and a query do not belong"},
		"a query":              {"telemetry: {openlineage: {url: \"https://lineage.example.com?key=me:canary\"}}\n", "", "a query do not belong"},
		"a query, variable":    {"", "http://127.0.0.1:5000/?key=me:canary", "OPENLINEAGE_URL"},
		"no URL":               {"", "lineage", "want a URL"},
		"bad reference":        {"telemetry: {openlineage: {url: \"https://lineage.example.com\", api_key: \"${vault:canary}\"}}\n", "", "telemetry.openlineage.api_key"},
	} {
		_, err := loadText(testOptions(t, "OPENLINEAGE_URL="+c.variable), "winch.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "me:canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKeyThatIsNotThereIsTold(t *testing.T) {
	t.Parallel()
	cfg := loadString(t, testOptions(t), "telemetry: {openlineage: {url: \"https://lineage.example.com\", api_key: \"${env:KEY}\"}}\n")
	if err := cfg.Absent().err(); err == nil || !strings.Contains(err.Error(), "KEY") {
		t.Errorf("absent: %v", err)
	}
	if _, err := cfg.Telemetry.Lineage.APIKey(t.Context()); err == nil || !strings.Contains(err.Error(), "KEY is not set") {
		t.Errorf("resolved: %v", err)
	}
}
