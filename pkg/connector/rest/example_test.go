package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/winchdata/winch/pkg/connector/rest"
)

// A list read page by page, each record completed with what the vendor leaves
// out and without what must not be stored.
func Example() {
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages := []string{`[{"user_id":"1","token":"x"},{"user_id":"2"}]`, `[{"user_id":"3"}]`}
		page := pages[map[string]int{"0": 0, "1": 1}[r.URL.Query().Get("page")]]
		fmt.Fprintf(w, `{"users":%s,"numpages":2}`, page)
	}))
	defer vendor.Close()

	client, err := rest.New(rest.Options{
		BaseURL: vendor.URL + "/2.4.9",
		Rate:    []rest.Window{{Requests: 100, Per: time.Minute}, {Requests: 1000, Per: time.Hour}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	pages := client.Pages(context.Background(), rest.Request{Path: "users", Op: "users"}, rest.PageNumber{
		Param:   "page",
		Records: func(r *rest.Response) ([][]byte, error) { return rest.Records(r.Body, "users") },
		Last:    rest.LastByCount(0, "numpages"),
	})
	for page, err := range pages {
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, record := range page.Records {
			if record, err = rest.DropField(record, "token"); err != nil {
				fmt.Println(err)
				return
			}
			if record, err = rest.AddField(record, "customer_id", "7"); err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(page.Number, string(record))
		}
	}
	// Output:
	// 0 {"user_id":"1","customer_id":"7"}
	// 0 {"user_id":"2","customer_id":"7"}
	// 1 {"user_id":"3","customer_id":"7"}
}
