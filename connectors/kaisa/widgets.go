package kaisa

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// callsPerDay is the one widget type whose rows are days (Developer API:
// /widgets/data); the others are aggregates over the dates asked for.
const callsPerDay = "calls_per_day"

// widgets are aggregates, asked for by one day at a time so that they are daily
// facts. The same can be computed from the calls, hence optional.
func widgets(cfg config) stream {
	return stream{
		Stream: connector.Stream{
			Name:        widgetDaily,
			Description: "Widget aggregates of one day.",
			DocsURL:     articles + "360019527438-Developer-API-widgets-data",
			Mode:        connector.ModeWindow,
			PrimaryKey:  []string{"type", "customer_id", "date", "name"},
			TimeColumn:  "date",
			Optional:    true,
			Slice:       connector.Days(1),
			Lookback:    connector.Days(7),
			Lag:         connector.Span{Clock: time.Hour},
			Columns: slices.Concat(
				from(byRequest,
					identifying(text("type", "Widget type")),
					id("customer_id", "Customer; 0 for the whole account"),
					connector.Column{Name: "date", Type: connector.TypeDate, Description: "Day; the zone of its bounds is not documented"},
				),
				from(docWidgets,
					identifying(text("name", "What the value belongs to; empty for types of a single value")),
					under("val", money("value", "The value")),
					under("Answered", number("answered", "Answered calls, of types that count them")),
					under("Missed", number("missed", "Missed calls, of types that count them")),
					id("datasource", "Data source; 0 is everything"),
				),
			),
		},
		path:        "widgets/data",
		paging:      whole,
		perCustomer: cfg.Widgets.Per == perCustomer,
		widget:      true,
		queries: func(w connector.Window) []url.Values {
			var list []url.Values
			for _, day := range days(w) {
				to := day
				if cfg.Widgets.ToDate == nextDay {
					to = day.AddDate(0, 0, 1)
				}
				list = append(list, times([]url.Values{{
					"from_date": {day.Format(time.DateOnly)},
					"to_date":   {to.Format(time.DateOnly)},
				}}, "type", cfg.Widgets.Types)...)
			}
			return list
		},
	}
}

// days are the days whose first moment in UTC lies in the window, so that each
// belongs to exactly one window, wherever the windows' bounds lie.
func days(w connector.Window) []time.Time {
	day := w.Since.UTC().Truncate(24 * time.Hour)
	if day.Before(w.Since) {
		day = day.AddDate(0, 0, 1)
	}
	var list []time.Time
	for ; day.Before(w.Until); day = day.AddDate(0, 0, 1) {
		list = append(list, day)
	}
	return list
}

type widgetAnswer struct {
	Dataset     string `json:"dataset"`
	Datasources []struct {
		Datasource json.RawMessage `json:"datasource"`
		Data       json.RawMessage `json:"data"`
	} `json:"datasources"`
}

// explode returns the rows of a widget answer, which may come wrapped in an array
// of one (the vendor's widget library unwraps it): {"dataset":TYPE,"datasources":
// [{"datasource":0,"data":DATA}]}. DATA is an array of rows with a name, or for
// types of a single value that value, which becomes one row without a name:
// {"name":"","val":VALUE}. Each row gets its data source.
func explode(body []byte, asked string) ([][]byte, error) {
	answers := make([]widgetAnswer, 1)
	var err error
	if body = bytes.TrimSpace(body); bytes.HasPrefix(body, []byte("[")) {
		err = json.Unmarshal(body, &answers)
	} else {
		err = json.Unmarshal(body, &answers[0])
	}
	if err != nil || len(answers) != 1 || answers[0].Datasources == nil {
		return nil, badResponse("the answer is no widget dataset")
	}
	answer := answers[0]
	if answer.Dataset != asked {
		return nil, badResponse("the answer is of type %.40q, asked for was %q", answer.Dataset, asked)
	}
	if n := len(answer.Datasources); n > 1 {
		return nil, badResponse("the answer has %d data sources, which the key of %s cannot tell apart", n, widgetDaily)
	}
	var rows [][]byte
	for _, source := range answer.Datasources {
		list, err := widgetRows(source.Data)
		if err != nil {
			return nil, err
		}
		for _, row := range list {
			if len(source.Datasource) > 0 {
				if row, err = rest.AddField(row, "datasource", source.Datasource); err != nil {
					return nil, err
				}
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func widgetRows(data json.RawMessage) ([][]byte, error) {
	if len(data) == 0 || data[0] == '{' {
		return nil, badResponse("the data of the answer is neither a value nor a list")
	}
	if data[0] != '[' {
		return [][]byte{slices.Concat([]byte(`{"name":"","val":`), data, []byte(`}`))}, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, badResponse("the data of the answer: %w", err)
	}
	rows := make([][]byte, len(list))
	for i, row := range list {
		if scalarText(rest.Field(row, "name")) == "" {
			return nil, badResponse("row %d of the answer has no name", i)
		}
		rows[i] = row
	}
	return rows, nil
}

// widgetRecord adds to a row what it answers to.
func widgetRecord(q query, row []byte) (record []byte, err error) {
	customer := q.customer
	if customer == "" {
		customer = "0"
	}
	record = row
	for _, field := range [][2]string{{"type", q.params.Get("type")}, {"customer_id", customer}, {"date", q.params.Get("from_date")}} {
		if record, err = rest.AddField(record, field[0], field[1]); err != nil {
			return nil, err
		}
	}
	return record, nil
}

// isOtherDay reports whether a row of calls_per_day is of another day than the
// one asked for, as it is when the vendor includes both dates of next_day.
func isOtherDay(q query, row []byte) bool {
	if q.params.Get("type") != callsPerDay {
		return false
	}
	name := scalarText(rest.Field(row, "name"))
	_, err := time.Parse(time.DateOnly, name)
	return err == nil && name != q.params.Get("from_date")
}
