package rest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

func TestRecordsKeepTheirBytes(t *testing.T) {
	t.Parallel()
	for body, test := range map[string]struct {
		path []string
		want []string
	}{
		`{"total":2,"cdrs":[ {"n":12345678901234567890.123456789012345, "x" : "\u00e5\/" } , {"e":1E400}]}`: {
			[]string{"cdrs"}, []string{`{"n":12345678901234567890.123456789012345, "x" : "\u00e5\/" }`, `{"e":1E400}`},
		},
		`{"data":{"order_list":[{"a":1}]}}`: {[]string{"data", "order_list"}, []string{`{"a":1}`}},
		"\n[1,\"a\",null,[2]] ":             {nil, []string{`1`, `"a"`, `null`, `[2]`}},
		`{"a":[1],"a":[2]}`:                 {[]string{"a"}, []string{`2`}},
		`{"a":[]}`:                          {[]string{"a"}, nil},
	} {
		records, err := rest.Records([]byte(body), test.path...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, record := range records {
			got = append(got, string(record))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRecordsSaysWhatIsThereInstead(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		``:                           "the answer is empty",
		" \n":                        "the answer is empty",
		`<html>CANARY</html>`:        "got HTML or XML instead of JSON",
		`Unauthorized CANARY`:        "the answer is not the JSON expected: invalid JSON at byte 0: want a value",
		`{"cdrs":[{"a":"CANARY`:      "the answer is not the JSON expected: invalid JSON at byte 21: a string is not closed",
		`{"cdrs":[]} CANARY`:         "the answer is not the JSON expected: invalid JSON at byte 12: want the end of the text",
		`{"cdrs":{"a":1}}`:           "want an array at cdrs, got an object",
		`{"cdrs":"CANARY"}`:          "want an array at cdrs, got a string",
		`{"cdrs":null}`:              "want an array at cdrs, got null",
		`{"customers":[],"total":0}`: `no array at cdrs: the answer has "customers", "total"`,
		`["CANARY"]`:                 "no array at cdrs: the answer is an array",
		`12`:                         "no array at cdrs: the answer is a number",
		`{}`:                         "no array at cdrs: the answer is an empty object",
		`{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"11":1}`: `no array at cdrs: the answer has "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", ...`,
	} {
		_, err := rest.Records([]byte(body), "cdrs")
		if err == nil {
			t.Errorf("%s is accepted", body)
			continue
		}
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Error(diff)
		}
		wantKind(t, err, connector.KindBadResponse)
	}
}

func TestFieldsAreAddedAndDropped(t *testing.T) {
	t.Parallel()
	add := func(raw, name string, value any) string {
		got, err := rest.AddField([]byte(raw), name, value)
		if err != nil {
			t.Error(err)
		}
		return string(got)
	}
	drop := func(raw, name string) string {
		got, err := rest.DropField([]byte(raw), name)
		if err != nil {
			t.Error(err)
		}
		return string(got)
	}
	for _, test := range []struct{ got, want string }{
		{add(`{}`, "customer_id", "5"), `{"customer_id":"5"}`},
		{add(` {"n": 1.10e+2, "s":"\u00e5"} `, "id", 7), `{"n":1.10e+2,"s":"\u00e5","id":7}`},
		{add(`{"id":1,"a":2}`, "id", "x"), `{"a":2,"id":"x"}`},
		{add(`{"a":{ "b" : [1, 2] }}`, `q"`, json.RawMessage(`12345678901234567890`)), `{"a":{ "b" : [1, 2] },"q\"":12345678901234567890}`},
		{drop(`{"a":1,"token":"CANARY","b":2}`, "token"), `{"a":1,"b":2}`},
		{drop(`{"token":"CANARY"}`, "token"), `{}`},
		{drop(`{"\u0074oken":"CANARY","a": 1 , "token":null}`, "token"), `{"a":1}`},
		{drop(`{"a": {"token":1} }`, "token"), `{"a": {"token":1} }`},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Error(diff)
		}
	}
	raw := []byte(`{"a":1}`)
	add(string(raw), "b", 2)
	if string(raw) != `{"a":1}` {
		t.Errorf("the record given was changed: %s", raw)
	}
	for _, bad := range []string{`[1]`, `"a"`, `{"a":1`, ``, `{"a":1}{"b":2}`} {
		_, err := rest.AddField([]byte(bad), "x", 1)
		wantKind(t, err, connector.KindBadResponse)
		_, err = rest.DropField([]byte(bad), "x")
		wantKind(t, err, connector.KindBadResponse)
	}
	if _, err := rest.AddField([]byte(`{}`), "x", make(chan int)); err == nil {
		t.Error("a channel is no JSON value")
	}
}

// What is added is there, what is dropped is gone, and nothing else changes.
func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[2,{"a":"\u00e5"}]}`), "a")
	f.Add([]byte(`{"\u0061":1e400}`), "a")
	f.Add([]byte(`{}`), "")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		var before map[string]json.RawMessage
		if json.Unmarshal(raw, &before) != nil || before == nil {
			return
		}
		key, _ := json.Marshal(name)
		_ = json.Unmarshal(key, &name) // as JSON can spell it
		added, err := rest.AddField(raw, name, 7)
		if err != nil {
			return // deeper than jsonscan goes
		}
		dropped, err := rest.DropField(added, name)
		if err != nil {
			t.Fatal(err)
		}
		var with, without map[string]json.RawMessage
		if err := json.Unmarshal(added, &with); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(dropped, &without); err != nil {
			t.Fatal(err)
		}
		delete(before, name)
		if diff := cmp.Diff(before, without); diff != "" {
			t.Error(diff)
		}
		before[name] = json.RawMessage("7")
		if diff := cmp.Diff(before, with); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGetJSONExplainsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	body := ""
	client, _ := serve(t, rest.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
	var answer struct {
		Ping struct{ State int }
	}
	for _, test := range []struct{ body, want string }{
		{`{"Ping":{"State":4}}`, ""},
		{`{"Ping":{"State":"CANARY"}}`, `GET ping: field "Ping.State": want int, got string`},
		{`{"Ping":{"State":1234.5}}`, `GET ping: field "Ping.State": want int, got number`},
		{``, "GET ping: the answer is empty"},
		{`<p>`, "GET ping: got HTML or XML instead of JSON"},
		{`{"Ping":`, "GET ping: the answer is not the JSON expected: unexpected end of JSON input"},
	} {
		body = test.body
		err := client.GetJSON(t.Context(), "ping", nil, &answer)
		if test.want == "" {
			if err != nil || answer.Ping.State != 4 {
				t.Errorf("got %+v, %v", answer, err)
			}
			continue
		}
		wantKind(t, err, connector.KindBadResponse)
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Error(diff)
		}
	}
}

// What Read refuses is asked for once: the vendor would say the same again.
func TestAnAnswerThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	asked := 0
	client, _ := serve(t, rest.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `{"orders":[1,2`)
	})
	resp, records, err := client.DoRecords(t.Context(), rest.Request{Path: "orders", Op: "orders page 1"}, func(r *rest.Response) ([][]byte, error) {
		return rest.Records(r.Body, "orders")
	})
	wantKind(t, err, connector.KindBadResponse)
	if asked != 1 || resp != nil || records != nil || strings.Count(err.Error(), "orders page 1") != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
