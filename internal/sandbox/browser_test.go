//go:build browser

package sandbox_test

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/winchdata/winch/internal/sandbox"
)

// browser is the program that looks at the page: WINCH_BROWSER, or one that is
// usually there.
func browser(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("WINCH_BROWSER"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no browser: install chromium, or name one in WINCH_BROWSER")
	return ""
}

// Everything that the page is for can be done by looking and clicking.
func TestPageWorksInABrowser(t *testing.T) {
	t.Parallel()
	box := sandbox.New(sandbox.Options{Size: 3, Days: 3})
	server := httptest.NewServer(box)
	defer server.Close()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser(t)), chromedp.NoSandbox, chromedp.WindowSize(1100, 900))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	do := func(actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	var text string
	var overflows bool
	do(chromedp.Navigate(server.URL), chromedp.Text("body", &text, chromedp.ByQuery),
		chromedp.Evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth", &overflows))
	for _, want := range []string{"sandbox-kaisa-secret", "sandbox+fospha/secret&=", "sandbox;cs-Secret", "/2.4.9/statistics/cdrs", server.URL + "/fuuffy", "None is on"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if overflows {
		t.Error("the page is wider than the window")
	}
	for _, kind := range sandbox.FaultKinds() {
		if !strings.Contains(text, string(kind)) {
			t.Errorf("no fault %s on the page", kind)
		}
	}

	do(chromedp.SetValue("input[name=path]", "/kaisa/2.4.9/customers", chromedp.ByQuery), chromedp.SetValue("input[name=count]", "2", chromedp.ByQuery),
		chromedp.Click("button[name=kind][value=server_error]", chromedp.ByQuery), chromedp.WaitVisible(".on", chromedp.ByQuery), chromedp.Text(".on", &text, chromedp.ByQuery))
	if faults := box.Faults(); len(faults) != 1 || faults[0].Kind != sandbox.FaultServerError || faults[0].Path != "/kaisa/2.4.9/customers" || faults[0].Count != 2 {
		t.Errorf("faults %+v", faults)
	}
	if !strings.Contains(text, "server_error") || !strings.Contains(text, "0 of 0") {
		t.Errorf("the page says %q", text)
	}
	do(chromedp.Click("button[name=kind][value=html]", chromedp.ByQuery), chromedp.WaitVisible("button[name=remove][value='2']", chromedp.ByQuery))
	do(chromedp.Click("button[name=remove][value='1']", chromedp.ByQuery), chromedp.WaitNotPresent("button[name=remove][value='1']", chromedp.ByQuery))
	if faults := box.Faults(); len(faults) != 1 || faults[0].Kind != sandbox.FaultHTML {
		t.Errorf("faults %+v", faults)
	}
	do(chromedp.Click("button[name=clear]", chromedp.ByQuery), chromedp.WaitNotPresent(".on", chromedp.ByQuery))
	if faults := box.Faults(); len(faults) != 0 {
		t.Errorf("faults %+v", faults)
	}

	before := box.AsOf()
	do(chromedp.Click("form[action='/_sandbox/clock'] button", chromedp.ByQuery), chromedp.WaitVisible("nav", chromedp.ByQuery), chromedp.Text("body", &text, chromedp.ByQuery))
	if moved := box.AsOf().Sub(before); moved != 24*time.Hour || !strings.Contains(text, box.AsOf().Format("2006-01-02 15:04:05")) {
		t.Errorf("moved by %s", moved)
	}
}
