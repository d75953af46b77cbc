package cassette

import (
	"bytes"
	"encoding/csv"
	"regexp"
)

// columnName is what a cell of a header looks like. Text for people does not.
var columnName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.\-]*$`)

// table reads a body as CSV with a header of at least two names, and redacts each
// cell as a field of its column's name. ok is false where the body is none.
func (r *redactor) table(body []byte) (rows [][]string, ok bool) {
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil || len(rows) == 0 || len(rows[0]) < 2 {
		return nil, false
	}
	for _, name := range rows[0] {
		if !columnName.MatchString(name) {
			return nil, false
		}
	}
	w := walk{redactor: r, trial: true} // what a later row says to replace, an earlier one may hold
	for pass := range 2 {
		for _, row := range rows[1:] {
			for i, cell := range row {
				marks, marked := r.columns(rows[0][i])
				if clean := w.string(cell, rows[0][i], marks, marked, 0); pass == 1 {
					row[i] = clean
				}
			}
		}
		w.trial = false
	}
	return rows, true
}

// written is a table as CSV.
func written(rows [][]string) []byte {
	var out bytes.Buffer
	_ = csv.NewWriter(&out).WriteAll(rows) // a bytes.Buffer takes everything
	return out.Bytes()
}
