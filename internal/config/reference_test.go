package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// spell writes parts so that they can be compared: literals in angle brackets,
// references with the words of their command.
func spell(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		if p.ref == nil {
			fmt.Fprintf(&b, "<%s>", p.literal)
			continue
		}
		fmt.Fprintf(&b, "%s(%s%q)", p.ref.scheme, p.ref.target, p.ref.argv)
	}
	return b.String()
}

func TestReferencesAreFoundAnywhereInText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"plain", "<plain>"},
		{"${env:A}", "env(A[])"},
		{"a${env:A_1}b${file:/x y}", "<a>env(A_1[])<b>file(/x y[])"},
		{"$", "<$>"},
		{"$$", "<$$>"},
		{"a$b$", "<a$b$>"},
		{"$A", "<$A>"},
		{"$${env:A}", "<${env:A}>"},
		{"a$${", "<a${>"},
		{"$$${env:A}", "<$${env:A}>"},
		{"${exec:vault read -field=x kv/kaisa}", `exec(vault read -field=x kv/kaisa["vault" "read" "-field=x" "kv/kaisa"])`},
		{`${exec:sh -c 'echo ${X} "y"'}`, `exec(sh -c 'echo ${X} "y"'["sh" "-c" "echo ${X} \"y\""])`},
		{`${exec:a "b \" }" c\ d ''}!`, `exec(a "b \" }" c\ d ''["a" "b \" }" "c d" ""])<!>`},
	} {
		parts, err := parseReferences(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		if diff := cmp.Diff(c.want, spell(parts)); diff != "" {
			t.Errorf("%s: %s", c.text, diff)
		}
	}
}

func TestMalformedReferencesAreRefusedWithoutTheirText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"${", "${}", "${hunter2}", "${env}", "${env:}", "${env:a b}", "${env:hunter2", "${ENV:A}", "${file:}", "${file:hunter2", "${file:a\nb}",
		"${exec:}", "${exec:  }", "${exec:''}", "${exec:hunter2", "${exec:a 'hunter2}", `${exec:a \`, "${exec:a\nb}", "${vault:hunter2}",
	} {
		if parts, err := parseReferences(text); err == nil {
			t.Errorf("%q: accepted as %s", text, spell(parts))
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzReferences(f *testing.F) {
	for _, seed := range []string{"a${env:B}c", "$${x}", `${exec:a 'b' "c\"" d\}e}`, "${file:/x}$", "${", "$$$"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, err := parseReferences(text)
		if err != nil {
			return
		}
		// Written again, with literals escaped, the parts are the same.
		var b strings.Builder
		for _, p := range parts {
			if p.ref != nil {
				b.WriteString(p.ref.String())
				if p.ref.scheme == "exec" && len(p.ref.argv) == 0 {
					t.Fatalf("%q: a command without words", text)
				}
				continue
			}
			b.WriteString(strings.ReplaceAll(p.literal, "${", "$${"))
		}
		again, err := parseReferences(b.String())
		if err != nil || spell(again) != spell(parts) {
			t.Fatalf("%q: %s, again %s, %v", text, spell(parts), spell(again), err)
		}
	})
}

// resolveOne returns what a setting with the given text resolves to.
func resolveOne(t *testing.T, text string, environ ...string) (string, error) {
	t.Helper()
	c := loadString(t, testOptions(t, environ...), string(Render(File{
		Sources: []FileSource{{Name: "a", Connector: "free", Config: map[string]any{"x": text}}},
	})))
	cfg, err := c.Sources[0].Resolve(t.Context())
	if err != nil {
		return "", err
	}
	var settings struct {
		X string `json:"x"`
	}
	if err := cfg.Decode(&settings); err != nil {
		t.Fatal(err)
	}
	return settings.X, nil
}

func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newline := write(t, filepath.Join(dir, "newline"), "from file\n\n")
	carriage := write(t, filepath.Join(dir, "carriage"), "from file\r\n")
	write(t, filepath.Join(dir, "with space"), "spaced")
	for _, c := range []struct{ text, want string }{
		{"${env:A}", "value $${env:B}"},
		{"<${env:A}|$${env:A}|${env:B}>", "<value $${env:B}|${env:A}|b>"},
		{"${file:" + newline + "}", "from file\n"},
		{"${file:" + carriage + "}", "from file"},
		{"${file:" + dir + "/with space}", "spaced"},
		{"${exec:printf '%s-%s\\n' one 'two three'}", "one-two three"},
		{"${exec:sh -c 'echo $B'}", "b"},
		{"${exec:echo $B *}", "$B *"},
	} {
		// What a variable holds is not read for references again.
		got, err := resolveOne(t, c.text, "A=value $${env:B}", "B=b", "PATH="+os.Getenv("PATH"))
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestReferencesThatFailNameTheReferenceAndNoValue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := write(t, filepath.Join(dir, "empty"), "\n")
	binary := write(t, filepath.Join(dir, "binary"), "hunter2\xff")
	missing := filepath.Join(dir, "missing")
	for _, c := range []struct{ text, want string }{
		{"hunter2${env:UNSET}", `"${env:UNSET}": the environment variable UNSET is not set; set it where winch runs`},
		{"${env:EMPTY}", `"${env:EMPTY}": the environment variable EMPTY is empty; give it a value where winch runs`},
		{"${env:BINARY}", `"${env:BINARY}": the environment variable BINARY does not hold UTF-8 text; store the value as text`},
		{"${file:" + missing + "}", `"${file:` + missing + `}": cannot read the file: no such file or directory; create it, or correct the path`},
		{"${file:" + dir + "}", `"${file:` + dir + `}": not a regular file; name a file`},
		{"${file:" + empty + "}", `"${file:` + empty + `}": the file is empty; a reference must have a value`},
		{"${file:" + binary + "}", `"${file:` + binary + `}": the file does not hold UTF-8 text; store the value as text`},
		{"${exec:true}", `"${exec:true}": the command printed nothing; it must print the value on standard output`},
		{"${exec:no-such-command-here}", `"${exec:no-such-command-here}": the command failed: executable file not found in $PATH; run it by hand as the user of winch`},
		{"${exec:" + missing + "}", `"${exec:` + missing + `}": the command failed: no such file or directory; run it by hand as the user of winch`},
		{
			"${exec:sh -c 'echo $PASS; echo first >&2; echo \"denied for $PASS at https://u:$PASS@host\" >&2; exit 3'}",
			`"${exec:sh -c 'echo $PASS; echo first >&2; echo \"denied for $PASS at https://u:$PASS@host\" >&2; exit 3'}": the command failed: exit status 3: denied for [redacted] at https://[redacted]@host; run it by hand as the user of winch`,
		},
	} {
		_, err := resolveOne(t, c.text, "EMPTY=", "BINARY=hunter2\xff", "PASS=hunter2", "PATH="+os.Getenv("PATH"))
		if want := "winch.yaml:5: sources.a.config.x: " + c.want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		var problems Problems
		if errors.As(err, &problems) && !problems[0].AtRunTime {
			t.Errorf("%s is not marked as at run time", c.text)
		}
	}
}

func TestLastLineOfACommandIsScrubbed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ stderr, want string }{
		{"one\ntwo\n\n", "two"},
		{"error: token=hunter2 refused", "error: token=[redacted] refused"},
		{`{"password": "hunter2"}`, `{"password": [redacted]`},
		{"Authorization: Bearer hunter2", "Authorization: Bearer [redacted]"},
		{"bad key hvs.CAESIJ7x2Yq8Zl0Wc3Rk5Tn9", "bad key [redacted]"},
		{"permission denied: kv/kaisa", "permission denied: kv/kaisa"},
		{"a\x1b[31mred\tb", "a [31mred b"},
		{strings.Repeat("é ", 300), strings.TrimSpace(strings.Repeat("é ", 300)[:295]) + " ..."},
	} {
		got := lastLine([]byte(c.stderr), "")
		if strings.Contains(got, "hunter2") || len([]rune(got)) > 200 {
			t.Errorf("%q: got %q", c.stderr, got)
		}
		if !strings.Contains(c.stderr, "é") && got != c.want {
			t.Errorf("%q: got %q, want %q", c.stderr, got, c.want)
		}
	}
}

func TestCommandNamedTwiceRunsOnce(t *testing.T) {
	t.Parallel()
	count := filepath.Join(t.TempDir(), "count")
	command := "${exec:sh -c 'echo run >> " + count + "; echo value'}"
	got, err := resolveOne(t, command+command, "PATH="+os.Getenv("PATH"))
	if err != nil || got != "valuevalue" {
		t.Fatalf("got %q, %v", got, err)
	}
	runs, err := os.ReadFile(count)
	if err != nil || string(runs) != "run\n" {
		t.Errorf("runs %q, %v", runs, err)
	}
}

func TestCommandEndsWithTheContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	if out, err := runQuiet(t, "mkfifo", ready); err != nil {
		t.Fatalf("mkfifo: %v %s", err, out)
	}
	c := loadString(t, testOptions(t, "PATH="+os.Getenv("PATH")), string(Render(File{
		Sources: []FileSource{{Name: "a", Connector: "free", Config: map[string]any{"x": "${exec:sh -c 'echo > " + ready + "; exec sleep 3600'}"}}},
	})))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Sources[0].Resolve(ctx)
		done <- err
	}()
	if _, err := os.ReadFile(ready); err != nil { // returns once the command runs
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestResolvedSettingsAreCheckedAgainWithoutBeingShown(t *testing.T) {
	t.Parallel()
	text := `sources:
  a:
    connector: shop
    config: {client_id: "${env:ID}", client_secret: "${env:SECRET}", region: "${env:REGION}"}
`
	c := loadString(t, testOptions(t, "ID=HUNTER2", "SECRET=hunter2", "REGION=hunter2"), text)
	_, err := c.Sources[0].Resolve(t.Context())
	want := `winch.yaml:4: sources.a.config.client_id: [redacted]: want text that matches ^[a-z0-9-]+$; Issued by the vendor
winch.yaml:4: sources.a.config.client_secret: [redacted]: want at least 8 characters; Issued with the client id
winch.yaml:4: sources.a.config.region: [redacted]: want eu, us or apac; Where the account lives`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestSinkResolves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, postgres, sqlite, err string }{
		{url: "postgres://u:${env:PW}@h:5432/db?sslmode=require", postgres: "postgres://u:hunter2@h:5432/db?sslmode=require"},
		{url: "postgresql:///db?host=/run/postgresql", postgres: "postgresql:///db?host=/run/postgresql"},
		{url: "sqlite:a.db", sqlite: "a.db"},
		{url: "sqlite:///var/a.db", sqlite: "/var/a.db"},
		{url: "${env:URL}", sqlite: "from-env.db"},
		{url: "${env:PW}", err: "winch.yaml:2: sink.url: [redacted]: " + wantSink},
		{url: "postgres://u:${env:NONE}@h/db", err: `winch.yaml:2: sink.url: "${env:NONE}": the environment variable NONE is not set; set it where winch runs`},
	} {
		cfg := loadString(t, testOptions(t, "PW=hunter2", "URL=sqlite:from-env.db"), string(Render(File{SinkURL: c.url})))
		u, err := cfg.Sink.Resolve(t.Context())
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: got %v, want %s", c.url, err, c.err)
			}
			continue
		}
		if err != nil || u.Postgres.Reveal() != c.postgres || u.SQLite != c.sqlite {
			t.Errorf("%s: got %q %q, %v", c.url, u.Postgres.Reveal(), u.SQLite, err)
		}
	}
}

func TestAbsentReportsEveryReferenceThatLeadsNowhereAndRunsNothing(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace")
	c := loadString(t, testOptions(t, "SET=x"), `sink: {url: "postgres://u:${env:DB_PASSWORD}@h/db"}
sources:
  a:
    connector: free
    config:
      id: ${env:SET}
      secret: ${file:/no/such/file}
      both: ${env:ONE}${env:TWO}
      command: ${exec:touch `+trace+`}
`)
	want := `winch.yaml:1: sink.url: "${env:DB_PASSWORD}": the environment variable DB_PASSWORD is not set; set it where winch runs
winch.yaml:7: sources.a.config.secret: "${file:/no/such/file}": cannot read the file: no such file or directory; create it, or correct the path
winch.yaml:8: sources.a.config.both: "${env:ONE}": the environment variable ONE is not set; set it where winch runs
winch.yaml:8: sources.a.config.both: "${env:TWO}": the environment variable TWO is not set; set it where winch runs`
	if diff := cmp.Diff(want, c.Absent().Error()); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("the command was run")
	}
}
