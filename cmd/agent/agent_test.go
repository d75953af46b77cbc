package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/pkg/connector/serve"
)

func TestMain(m *testing.M) {
	serve.Bundled(os.Args[1:], bundled()...) // plugins of the agents under test are this binary too
	testscript.Main(m, map[string]func(){"winch": main, "winch-connector-hanging": hangingMain})
}

// TestCommands runs the scripts in testdata/script: what a person types, and what
// is printed.
func TestCommands(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TMPDIR", os.TempDir()) // sockets have short paths
			env.Values[tKey{}] = t
			return nil
		},
		// What is read of calls has ended an hour ago: yesterday, but for the first hour
		// of a day.
		Condition: func(name string) (bool, error) {
			if name != "yesterday" {
				return false, fmt.Errorf("no condition is named %q", name)
			}
			return time.Now().UTC().Hour() > 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sandbox":  cmdSandbox,
			"vendor":   cmdVendor,
			"fault":    cmdFault,
			"clock":    cmdClock,
			"postgres": cmdPostgres,
			"sql":      cmdSQL,
			"sqlenv":   cmdSQLEnv,
			"json":     cmdJSON,
			"code":     cmdCode,
			"edit":     cmdEdit,
			"waitrun":  cmdWaitRun,
			"sqluntil": cmdSQLUntil,
		},
	})
}

// sandbox [size=N] [days=N] [lifetime=D]: serves a sandbox and writes a
// winch.yaml for it. $SANDBOX is its URL.
func cmdSandbox(ts *testscript.TestScript, _ bool, args []string) {
	options := sandbox.Options{Size: 3, Days: 3}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "size":
			options.Size, err = strconv.Atoi(value)
		case "days":
			options.Days, err = strconv.Atoi(value)
		case "lifetime":
			options.TokenLifetime, err = time.ParseDuration(value)
		default:
			ts.Fatalf("sandbox: unknown option %q", arg)
		}
		ts.Check(err)
	}
	sim := sandbox.New(options)
	server := httptest.NewServer(sim)
	ts.Defer(server.Close)
	ts.Setenv("SANDBOX", server.URL)
	ts.Check(os.WriteFile(ts.MkAbs("winch.yaml"), sandboxConfig(sim, server.URL, "sqlite:winch.db"), 0o600))
}

// fault KEY=VALUE...: switches a fault of the sandbox on; fault clear: all off.
func cmdFault(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "clear" {
		req, err := http.NewRequest(http.MethodDelete, ts.Getenv("SANDBOX")+"/_sandbox/faults", nil)
		ts.Check(err)
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		resp.Body.Close()
		return
	}
	form := url.Values{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		form.Set(key, value)
	}
	resp, err := http.PostForm(ts.Getenv("SANDBOX")+"/_sandbox/faults", form)
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		ts.Fatalf("fault %v: %s", args, resp.Status)
	}
}

// clock DURATION: moves the sandbox's simulated now ahead.
func cmdClock(ts *testscript.TestScript, _ bool, args []string) {
	resp, err := http.PostForm(ts.Getenv("SANDBOX")+"/_sandbox/clock", url.Values{"advance": {args[0]}})
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		ts.Fatalf("clock %v: %s", args, resp.Status)
	}
}

// vendor KIND: makes winch.yaml point at a server that is none: html, shape
// (JSON of another shape), tls (a certificate nobody signed), gone (nobody
// listens).
func cmdVendor(ts *testscript.TestScript, _ bool, args []string) {
	answer := map[string]string{"html": "<!doctype html><title>Welcome</title>", "shape": `{"customers":{"id":1}}`}[args[0]]
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/token"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token":"t","token_type":"Bearer","expires_in":300}`)
		default:
			w.Header().Set("Content-Type", map[bool]string{true: "text/html", false: "application/json"}[args[0] == "html"])
			fmt.Fprint(w, answer)
		}
	})
	server := httptest.NewUnstartedServer(handler)
	if args[0] == "tls" {
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.StartTLS()
	} else {
		server.Start()
	}
	ts.Defer(server.Close)
	if args[0] == "gone" {
		server.Close()
	}
	ts.Check(os.WriteFile(ts.MkAbs("winch.yaml"), fmt.Appendf(nil, `sources:
  kaisa_test:
    connector: kaisa
    config:
      client_id: id
      client_secret: canary-secret
      token_url: %[1]s/oauth2/token
      base_url: %[1]s
`, server.URL), 0o600))
}

// postgres [role]: sets WINCH_SINK_URL to a fresh database; with role, as a user
// who may connect and no more.
func cmdPostgres(ts *testscript.TestScript, _ bool, args []string) {
	t := ts.Value(tKey{}).(testing.TB)
	address := pgtest.Database(t)
	if len(args) > 0 {
		sqlExec(ts, address, "DROP ROLE IF EXISTS winch_visitor; CREATE ROLE winch_visitor LOGIN PASSWORD 'visitor'")
		u, err := url.Parse(address)
		ts.Check(err)
		if u.User != nil {
			u.User = url.UserPassword("winch_visitor", "visitor")
		} else {
			q := u.Query()
			q.Set("user", "winch_visitor")
			u.RawQuery = q.Encode()
		}
		address = u.String()
	}
	ts.Setenv("WINCH_SINK_URL", address)
	u, err := url.Parse(address)
	ts.Check(err)
	u.Path = "/no_such_database"
	ts.Setenv("NO_SUCH_DATABASE", u.String())
	server := wrongPassword(t)
	ts.Setenv("WRONG_PASSWORD", strings.Replace(server.LoopbackURL(), pgtest.Password, "canary-password", 1))
}

// wrongPassword returns a server that asks for passwords.
func wrongPassword(t testing.TB) *pgtest.Server {
	return pgtest.Start(t, pgtest.Options{Loopback: true})
}

type tKey struct{}

// sql QUERY VALUE: asserts the one value that a query on $WINCH_SINK_URL gives.
func cmdSQL(ts *testscript.TestScript, _ bool, args []string) {
	if got := sqlValue(ts, args[0]); got != args[1] {
		ts.Fatalf("%s: got %s, want %s", args[0], got, args[1])
	}
}

// sqlenv NAME QUERY: keeps the one value that a query gives as $NAME.
func cmdSQLEnv(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], sqlValue(ts, args[1]))
}

func sqlValue(ts *testscript.TestScript, query string) string {
	conn, err := pgx.Connect(context.Background(), ts.Getenv("WINCH_SINK_URL"))
	ts.Check(err)
	defer conn.Close(context.Background())
	var value any
	ts.Check(conn.QueryRow(context.Background(), query).Scan(&value))
	return fmt.Sprint(value)
}

func sqlExec(ts *testscript.TestScript, address, statement string) {
	conn, err := pgx.Connect(context.Background(), address)
	ts.Check(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), statement)
	ts.Check(err)
}

// json FILE PATH [VALUE]: asserts that a JSON file, stdout for example, has a
// value at a path such as sources.0.streams.1.name; without VALUE, that there is
// something.
func cmdJSON(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &v); err != nil {
		ts.Fatalf("json: %v in %s", err, ts.ReadFile(args[0]))
	}
	for step := range strings.SplitSeq(args[1], ".") {
		switch node := v.(type) {
		case map[string]any:
			next, ok := node[step]
			if !ok {
				ts.Fatalf("json: no %s of %s", step, args[1])
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(node) {
				ts.Fatalf("json: no %s of %s in a list of %d", step, args[1], len(node))
			}
			v = node[i]
		default:
			ts.Fatalf("json: %s of %s: not an object or list", step, args[1])
		}
	}
	if len(args) > 2 {
		if got := fmt.Sprint(v); got != args[2] {
			ts.Fatalf("json: %s is %s, want %s", args[1], got, args[2])
		}
	}
}

// edit FILE OLD NEW: replaces the one place of a file that a regular expression
// matches. ${NL} in NEW is the end of a line.
func cmdEdit(ts *testscript.TestScript, _ bool, args []string) {
	old, err := regexp.Compile(args[1])
	ts.Check(err)
	text := ts.ReadFile(args[0])
	if n := len(old.FindAllString(text, -1)); n != 1 {
		ts.Fatalf("edit: %s matches %d times in\n%s", args[1], n, text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(old.ReplaceAllString(text, strings.ReplaceAll(args[2], "${NL}", "\n"))), 0o600))
}

// code N WINCH-ARGS...: runs winch and asserts its exit code.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("winch", args[1:]...)
	got := 0
	if err != nil {
		if exit, ok := err.(interface{ ExitCode() int }); ok {
			got = exit.ExitCode()
		} else {
			ts.Fatalf("winch: %v", err)
		}
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("winch %s: exit code %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// waitrun SOURCE: returns when a run of the source goes on.
func cmdWaitRun(ts *testscript.TestScript, _ bool, args []string) {
	for range 1000 {
		ts.Check(ts.Exec("winch", "runs", "--source", args[0], "-n", "1", "--output", "json"))
		if strings.Contains(ts.ReadFile("stdout"), `"outcome": null`) {
			return
		}
	}
	ts.Fatalf("waitrun: no run of %s began", args[0])
}

// sqluntil QUERY VALUE: returns when a query on $WINCH_SINK_URL gives the value.
func cmdSQLUntil(ts *testscript.TestScript, _ bool, args []string) {
	got := ""
	for range 1000 {
		if got = sqlValue(ts, args[0]); got == args[1] {
			return
		}
		time.Sleep(50 * time.Millisecond) // the asserted value ends the wait
	}
	ts.Fatalf("%s: still %s, want %s", args[0], got, args[1])
}
