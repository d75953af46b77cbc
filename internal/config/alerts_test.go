package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestAlertsAreReadAndTheirURLsHidden(t *testing.T) {
	t.Parallel()
	const canary = "https://hooks.example.com/T0/canary"
	c := loadString(t, testOptions(t, "HOOK="+canary), `
alerts:
  ops: {url: "${env:HOOK}", format: slack, on: [failure, recovery]}
  local: {url: "http://127.0.0.1:9/x"}
sources:
  a:
    connector: free
    streams: {calls: {freshness: 26h}}
`)
	if len(c.Alerts) != 2 || c.Alerts[0].Name != "ops" || c.Alerts[0].Format != "slack" || len(c.Alerts[0].On) != 2 || len(c.Alerts[1].On) != 5 {
		t.Fatalf("%+v", c.Alerts)
	}
	u, err := c.Alerts[0].Resolve(t.Context())
	if err != nil || u.Reveal() != canary {
		t.Errorf("%v, %v", u, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s %q", c, c.Alerts, c.Alerts, c.Alerts, c.Alerts[0]); strings.Contains(text, "canary") {
		t.Error(text)
	}
	if got := c.Sources[0].Freshness()["calls"].String(); got != "26h" {
		t.Errorf("freshness %s", got)
	}
}

func TestWebhooksAreHTTPSButForThisMachine(t *testing.T) {
	t.Parallel()
	for url, good := range map[string]bool{
		"https://hooks.example.com/x": true, "http://localhost:1/x": true, "http://[::1]/x": true,
		"http://hooks.example.com/x": false, "ftp://localhost/x": false, "hooks": false, "http://localhost.example.com/": false,
	} {
		if err := checkReceiver(url); (err == nil) != good {
			t.Errorf("%s: %v", url, err)
		}
	}
	c := loadString(t, testOptions(t, "HOOK=http://hooks.example.com/canary"), "alerts: {ops: {url: \"${env:HOOK}\"}}\n")
	if _, err := c.Alerts[0].Resolve(t.Context()); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "want https") {
		t.Errorf("what the reference leads to: %v", err)
	}
}
