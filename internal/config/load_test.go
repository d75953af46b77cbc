package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSourceHasItsDefaults(t *testing.T) {
	t.Parallel()
	c := loadString(t, testOptions(t), "sources: {a: {connector: free}}")
	s := c.Sources[0]
	if !s.Enabled || s.Overlap != OverlapSkip || s.CatchUp != CatchUpOnce || s.Location != time.UTC ||
		!s.Schedule.IsZero() || s.Jitter != 0 || !s.Since.IsZero() {
		t.Errorf("got %+v", *s)
	}
	if c.Log.Format != "text" || c.Log.Level.String() != "WARN" {
		t.Errorf("log: %+v", c.Log)
	}
	u, err := c.Sink.Resolve(t.Context())
	if err != nil || u.SQLite != "winch.db" {
		t.Errorf("sink: %+v, %v", u, err)
	}
}

func TestSourceTakesWhatTheFileSays(t *testing.T) {
	t.Parallel()
	c := loadString(t, testOptions(t), `
sources:
  zeta:
    connector: free
    enabled: false
    schedule: "30 0 2 * * *"
    timezone: Europe/Stockholm
    jitter: 1h30m
    overlap: queue
    catch_up: all
    since: 2025-01-01
  alpha: {connector: free, schedule: 2026-12-24T02:00, since: "2025-01-01T06:00:00+01:00"}
plugins: {directories: [lib, /opt/lib], checksums: {other: `+strings.Repeat("AB", 32)+`}}
telemetry: {otlp_endpoint: "http://localhost:4318"}
log: {level: debug, format: json}
`)
	s := c.Sources[0]
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	if s.Enabled || s.Overlap != OverlapQueue || s.CatchUp != CatchUpAll || s.Jitter != 90*time.Minute ||
		!s.Since.Equal(time.Date(2025, 1, 1, 0, 0, 0, 0, stockholm)) {
		t.Errorf("got %+v", *s)
	}
	next := s.Schedule.Next(time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC))
	if want := time.Date(2025, 6, 2, 2, 0, 30, 0, stockholm); !next.Equal(want) {
		t.Errorf("next is %v, want %v", next, want)
	}
	if want := time.Date(2025, 1, 1, 5, 0, 0, 0, time.UTC); !c.Sources[1].Since.Equal(want) {
		t.Errorf("since is %v, want %v", c.Sources[1].Since, want)
	}
	if diff := cmp.Diff(Plugins{[]string{"lib", "/opt/lib"}, map[string]string{"other": strings.Repeat("ab", 32)}}, c.Plugins); diff != "" {
		t.Error(diff)
	}
	if c.Telemetry.OTLPEndpoint != "http://localhost:4318" || c.Log.Level.String() != "DEBUG" || c.Log.Format != "json" {
		t.Errorf("got %+v %+v", c.Telemetry, c.Log)
	}
}

func TestScheduleKeepsToTheWallClockOverSummerTime(t *testing.T) {
	t.Parallel()
	c := loadString(t, testOptions(t), `sources: {a: {connector: free, schedule: "0 3 * * *", timezone: Europe/Stockholm}}`)
	got := c.Sources[0].Schedule.Next(time.Date(2025, 3, 29, 12, 0, 0, 0, time.UTC))
	if want := time.Date(2025, 3, 30, 1, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("got %v, want %v", got.UTC(), want)
	}
	if next := (Schedule{}).Next(time.Now()); !next.IsZero() {
		t.Errorf("no schedule is due at %v", next)
	}
}

const layered = `
sink: {url: sqlite:file.db}
sources:
  shop_se:
    connector: shop
    config: {client_id: file, client_secret: from-the-file, paging: {size: 1}}
    streams: {orders_in: {lookback: 7d}}
log: {level: info}
`

func TestEnvironmentWinsOverFileAndFlagsOverBoth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		env  string
		flag string
		want string
	}{
		{"file", "", "", "file.db"},
		{"environment", "sqlite:env.db", "", "env.db"},
		{"flag", "sqlite:env.db", "sqlite:flag.db", "flag.db"},
		{"flag alone", "", "sqlite:flag.db", "flag.db"},
	} {
		o := testOptions(t, "WINCH_SINK_URL="+c.env)
		if c.flag != "" {
			o.Flags = map[string]any{"sink.url": c.flag}
		}
		u, err := loadString(t, o, layered).Sink.Resolve(t.Context())
		if err != nil || u.SQLite != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.name, u.SQLite, err, c.want)
		}
	}
}

func TestVariablesReachEveryKindOfKey(t *testing.T) {
	t.Parallel()
	o := testOptions(t,
		"WINCH_LOG_LEVEL=warn",
		"WINCH_TELEMETRY_OTLP_ENDPOINT=http://collector:4318",
		"WINCH_PLUGINS_DIRECTORIES=/a, /b",
		"WINCH_SOURCES_SHOP_SE_ENABLED=false",
		"WINCH_SOURCES_SHOP_SE_CATCH_UP=none",
		"WINCH_SOURCES_SHOP_SE_CONFIG_CLIENT_ID=env",
		"WINCH_SOURCES_SHOP_SE_CONFIG_PAGE_SIZE=7",
		"WINCH_SOURCES_SHOP_SE_CONFIG_VERBOSE=true",
		"WINCH_SOURCES_SHOP_SE_CONFIG_SCOPES=a,b",
		"WINCH_SOURCES_SHOP_SE_CONFIG_PAGING_START_AT=2",
		"WINCH_SOURCES_SHOP_SE_STREAMS_ORDERS_IN_LOOKBACK=1mo",
		"WINCH_CONFIG=/ignored", "WINCH_TEST_DATABASE_URL=postgres://x", "HOME=/root", "WINCHED=no",
	)
	c := loadString(t, o, layered)
	s := c.Sources[0]
	cfg, err := s.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"client_id":"env","client_secret":"from-the-file","page_size":7,"paging":{"size":1,"start_at":2},"scopes":["a","b"],"verbose":true}`
	if diff := cmp.Diff(want, string(cfg.Reveal())); diff != "" {
		t.Error(diff)
	}
	if s.Enabled || s.CatchUp != CatchUpNone || c.Log.Level.String() != "WARN" || c.Telemetry.OTLPEndpoint != "http://collector:4318" {
		t.Errorf("got %+v %+v", *s, c)
	}
	if diff := cmp.Diff([]string{"/a", "/b"}, c.Plugins.Directories); diff != "" {
		t.Error(diff)
	}
	selected, err := s.Select([]connector.Stream{windowStream("orders_in")})
	if err != nil || selected[0].Lookback != (connector.Span{Months: 1}) {
		t.Errorf("selected %+v, %v", selected, err)
	}
	list := loadString(t, testOptions(t, "WINCH_SOURCES_A_STREAMS=x,y"), "sources: {a: {connector: free, streams: [z]}}")
	if _, err := list.Sources[0].Select([]connector.Stream{windowStream("x"), windowStream("y")}); err != nil {
		t.Error(err)
	}
}

func TestProblemsOfVariablesNameTheVariable(t *testing.T) {
	t.Parallel()
	o := testOptions(t,
		"WINCH_SINK_URI=sqlite:hunter2.db",
		"WINCH_SOURCES_OTHER_SCHEDULE=@daily",
		"WINCH_SOURCES_SHOP_SE_SCHEDULE=hourly",
		"WINCH_SOURCES_SHOP_SE_CONFIG_CLIENT_SECRET=short",
		"WINCH_SOURCES_SHOP_SE_CONFIG_PAGE_SIZE=many",
		"WINCH_SOURCES_SHOP_SE_ENABLED=perhaps",
		"WINCH_KAISA_ID=used by a reference",
	)
	o.Flags = map[string]any{"log.level": "loud", "telemetry.otlp_endpoint": "x"}
	got := problemsOf(t, o, layered+"plugins: {directories: ['${env:WINCH_KAISA_ID}']}")
	want := []string{
		`winch.yaml:9: plugins.directories[0]: "${env:WINCH_KAISA_ID}": references are understood in sink.url and in the settings under config only; write the value, or set it by the variable WINCH_PLUGINS_DIRECTORIES`,
		`--log-level: log.level: "loud": want debug, info, warn or error`,
		`--telemetry-otlp-endpoint: telemetry.otlp_endpoint: "x": want a URL such as http://localhost:4318`,
		`WINCH_SINK_URI: the variable names no key; did you mean WINCH_SINK_URL?`,
		`WINCH_SOURCES_OTHER_SCHEDULE: the variable names no key; did you mean WINCH_SOURCES_SHOP_SE_SCHEDULE?`,
		`WINCH_SOURCES_SHOP_SE_CONFIG_CLIENT_SECRET: sources.shop_se.config.client_secret: [redacted]: want at least 8 characters; Issued with the client id`,
		`WINCH_SOURCES_SHOP_SE_CONFIG_PAGE_SIZE: sources.shop_se.config.page_size: "many": want a whole number, found text`,
		`WINCH_SOURCES_SHOP_SE_ENABLED: sources.shop_se.enabled: "perhaps": want true or false`,
		`WINCH_SOURCES_SHOP_SE_SCHEDULE: sources.shop_se.schedule: "hourly": want a cron expression such as "0 2 * * *", @daily or "@every 6h", or a time such as "2026-12-24T02:00": want 5 fields, or 6 with seconds first, found 1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAmbiguousVariableIsAProblem(t *testing.T) {
	t.Parallel()
	got := problemsOf(t, testOptions(t, "WINCH_SOURCES_A_CONFIG_X=1"),
		"sources: {a: {connector: free, config: {x: 0}}, a_config: {connector: free, config: {x: 1}}}")
	if got != nil {
		t.Errorf("a variable that can mean one key only: %v", got)
	}
	got = problemsOf(t, testOptions(t, "WINCH_SOURCES_A_STREAMS_B_SINCE=2025-01-01"),
		"sources: {a: {connector: free, streams: {b: {}}}, a_streams_b: {connector: free}}")
	want := []string{"WINCH_SOURCES_A_STREAMS_B_SINCE: the variable can mean sources.a.streams.b.since or sources.a_streams_b.since; set the key in the file, or give the source another name"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilesThatCannotBeReadAreOneLineEach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	huge := write(t, filepath.Join(dir, "huge.yaml"), strings.Repeat("# comment\n", maxFile/10+1))
	binary := write(t, filepath.Join(dir, "binary.yaml"), "a: 1\nb: \xff\xfe\n")
	control := write(t, filepath.Join(dir, "control.yaml"), "a: \x01\n")
	missing := filepath.Join(dir, "missing.yaml")
	for _, c := range []struct{ file, want string }{
		{missing, missing + ": there is no such file; write one with winch init, or name another with --config"},
		{dir, dir + ": this is a directory; name the file: " + filepath.Join(dir, "winch.yaml")},
		{huge, huge + ": the file is larger than 1 MiB"},
		{binary, binary + ":2: the file is not UTF-8 text; save it as UTF-8"},
		{control, control + ": a control character; remove it"},
	} {
		_, err := Load(Options{Path: c.file, Optional: true})
		if err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestEmptyFilesAreEmptyConfigurations(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "sources:\n", "sources: {}\nsink:\nlog:\nplugins:\ntelemetry:\n", "\ufeff"} {
		if c := loadString(t, testOptions(t), text); len(c.Sources) != 0 {
			t.Errorf("%q: got %v", text, c)
		}
	}
}

func TestByteOrderMarkAndCarriageReturnsChangeNothing(t *testing.T) {
	t.Parallel()
	text := "\ufeff" + strings.ReplaceAll(layered, "\n", "\r\n")
	if c := loadString(t, testOptions(t), text); c.Sources[0].Name != "shop_se" {
		t.Errorf("got %v", c)
	}
	got := problemsOf(t, testOptions(t), strings.Replace(text, "level: info", "level: loud", 1))
	if diff := cmp.Diff([]string{`winch.yaml:8: log.level: "loud": want debug, info, warn or error`}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNamedFileWinsOverVariableAndStandardPlaces(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	home := filepath.Join(dir, "home")
	xdg := filepath.Join(dir, "xdg")
	environ := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + xdg}

	_, err := Load(Options{Environ: environ})
	want := "there is no configuration: looked for ./winch.yaml and " + filepath.Join(xdg, "winch", "winch.yaml") +
		"; write one with winch init, or name one with --config"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	c, err := Load(Options{Environ: environ, Optional: true, Flags: map[string]any{"log.level": "error"}})
	if err != nil || c.Path != "" || c.Log.Level.String() != "ERROR" {
		t.Errorf("without a file: %v, %v", c, err)
	}

	load := func(o Options, want string) {
		t.Helper()
		c, err := Load(o)
		if err != nil || c.Path != want {
			t.Errorf("got %v, %v; want %s", c, err, want)
		}
	}
	inHome := write(t, filepath.Join(home, ".config", "winch", "winch.yaml"), "")
	load(Options{Environ: []string{"HOME=" + home}}, inHome)
	load(Options{Environ: []string{"HOME=" + home, "XDG_CONFIG_HOME=relative"}}, inHome)
	inXDG := write(t, filepath.Join(xdg, "winch", "winch.yaml"), "")
	load(Options{Environ: environ}, inXDG)
	write(t, "winch.yaml", "")
	load(Options{Environ: environ}, "winch.yaml")
	named := write(t, filepath.Join(dir, "named.yaml"), "")
	load(Options{Environ: append(environ, "WINCH_CONFIG="+named)}, named)
	load(Options{Environ: append(environ, "WINCH_CONFIG=/missing"), Path: named}, named)
	if _, err := Load(Options{Environ: append(environ, "WINCH_CONFIG=/missing"), Optional: true}); err == nil {
		t.Error("a named file that is missing is no problem")
	}
}

func TestRelativePathsAreRelativeToTheFileThatHasThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "long-enough\n")
	file := write(t, filepath.Join(dir, "winch.yaml"), `
sink: {url: "sqlite:data/winch.db"}
plugins: {directories: [lib]}
sources:
  a: {connector: shop, config: {client_id: x, client_secret: "${file:secret}"}}
`)
	o := testOptions(t)
	o.Path = file
	c, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Sources[0].Resolve(t.Context()); err != nil {
		t.Error(err)
	}
	if u, err := c.Sink.Resolve(t.Context()); err != nil || u.SQLite != filepath.Join(dir, "data", "winch.db") {
		t.Errorf("sink %q, %v", u.SQLite, err)
	}
	if got := c.Plugins.Directories[0]; got != filepath.Join(dir, "lib") {
		t.Errorf("plugins in %q", got)
	}
	o.Flags = map[string]any{"sink.url": "sqlite:here.db"}
	if c, err = Load(o); err != nil {
		t.Fatal(err)
	}
	if u, err := c.Sink.Resolve(t.Context()); err != nil || u.SQLite != "here.db" {
		t.Errorf("sink from a flag %q, %v", u.SQLite, err)
	}
}

func TestPickTakesNamedOrEnabledSources(t *testing.T) {
	t.Parallel()
	c := loadString(t, testOptions(t), "sources: {b: {connector: free}, off: {connector: free, enabled: false}, a: {connector: free}}")
	names := func(sources []*Source) (names []string) {
		for _, s := range sources {
			names = append(names, s.Name)
		}
		return names
	}
	all, err := c.Pick()
	if diff := cmp.Diff([]string{"b", "a"}, names(all)); diff != "" || err != nil {
		t.Error(diff, err)
	}
	some, err := c.Pick("off", "a", "off")
	if diff := cmp.Diff([]string{"off", "a"}, names(some)); diff != "" || err != nil {
		t.Error(diff, err)
	}
	_, err = c.Pick("of", "a", "zzz")
	want := "winch.yaml: sources: \"of\": no source has this name; did you mean off?\n" +
		"winch.yaml: sources: \"zzz\": no source has this name; known: a, b, off"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestProblemsAreStableJSON(t *testing.T) {
	t.Parallel()
	_, err := loadText(testOptions(t), "winch.yaml", []byte("log: {level: loud}\nsink: {url: x}"))
	got, jsonErr := json.Marshal(err)
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	want := `[{"key":"log.level","file":"winch.yaml","line":1,"value":"loud","message":"want debug, info, warn or error"},` +
		`{"key":"sink.url","file":"winch.yaml","line":2,"value":"[redacted]","message":"want postgres://user:password@host:5432/database or sqlite:PATH"}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestSchemaThatReadsFilesIsRefused(t *testing.T) {
	t.Parallel()
	o := Options{Connectors: func(string) (json.RawMessage, bool) {
		return json.RawMessage(`{"$ref": "file:///etc/hostname"}`), true
	}}
	_, err := loadText(o, "winch.yaml", []byte("sources: {a: {connector: evil}}"))
	if err == nil || !strings.Contains(err.Error(), "a schema must not refer to file:///etc/hostname") {
		t.Errorf("got %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{layered, "a: &a [*a]", "sources: {x: {<<: {connector: shop}}}", "? {a: b}\n: c", "a: \"\\0\"", "[]", "sink: {url: \"${exec:a 'b}'}\"}"} {
		f.Add([]byte(seed), "WINCH_SINK_URL=sqlite:a")
	}
	for _, name := range []string{"winch.example.yaml", "accounts.example.yaml"} {
		text, err := os.ReadFile("../../configs/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "WINCH_SOURCES_KAISA_SE_CONFIG_AUTH=digest")
	}
	o := testOptions(f)
	f.Fuzz(func(t *testing.T, text []byte, variable string) {
		o := o
		o.Environ = []string{variable}
		c, err := loadText(o, "winch.yaml", text)
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("not Problems: %v", err)
			}
			for _, p := range problems {
				if strings.Contains(p.String(), "\n") {
					t.Fatalf("more than a line: %q", p)
				}
			}
			return
		}
		for _, s := range c.Sources {
			if !connector.ValidName(s.Name) || s.Location == nil {
				t.Fatalf("accepted %+v", *s)
			}
		}
	})
}
