package config

import (
	"strconv"
	"strings"
)

// A Tolerance says what happens when a stream's records or its table are not as
// declared. Fields that are nil or empty are not configured.
type Tolerance struct {
	// Schema is evolve, freeze or quarantine.
	Schema string
	// Limit is how many records that cannot become rows one run sets aside.
	Limit *int64
	// Share is the largest part of a slice's records that is, from 0 to 1.
	Share *float64
}

// or takes from the other what is not configured here.
func (t Tolerance) or(other Tolerance) Tolerance {
	if t.Limit == nil {
		t.Limit = other.Limit
	}
	if t.Share == nil {
		t.Share = other.Share
	}
	if t.Schema == "" {
		t.Schema = other.Schema
	}
	return t
}

func (d *decoder) tolerance(p path) (t Tolerance) {
	if text, ok := d.text(p.key("schema")); ok {
		t.Schema = text // one of the choices, or reported already
	}
	p = p.key("quarantine")
	if text, ok := d.text(p.key("limit")); ok {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			d.bad(p.key("limit"), text, "want a number of records, 0 or more", "0 makes the first record that cannot become a row fail its slice")
		}
		t.Limit = &n
	}
	if text, ok := d.text(p.key("share")); ok {
		number, percent := strings.CutSuffix(text, "%")
		share, err := strconv.ParseFloat(number, 64)
		if err != nil || !percent || !(share >= 0 && share <= 100) {
			d.bad(p.key("share"), text, "want a part of the records from 0% to 100%, such as 1%", "")
		}
		share /= 100
		t.Share = &share
	}
	return t
}
