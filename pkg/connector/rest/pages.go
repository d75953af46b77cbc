package rest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"strconv"

	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/pkg/connector"
)

// PageNumber describes paging by a page number in the query.
type PageNumber struct {
	// Param is the query parameter of the page number.
	Param string
	// First is the number of the page to begin with: the vendor's first, or one
	// to resume from.
	First int
	// SizeParam is the query parameter of the page size; empty sends none.
	SizeParam string
	// Size is how many records a full page has; zero when unknown.
	Size int
	// Records splits an answer into its records; see [Records].
	Records func(*Response) ([][]byte, error)
	// Last reports whether page, which held that many records, is the last one,
	// if the answer says so. It may be nil. See LastByCount.
	Last func(r *Response, page, records int) (last, known bool, err error)
}

// A Page is one page of a list.
type Page struct {
	// Number is the page's number.
	Number   int
	Response *Response
	// Records are the page's records, raw; they are slices of Response.Body. Who
	// has done with them may release it.
	Records [][]byte
}

// Pages reads page after page. It ends after the page that Last knows to be the
// last one; else after a page with fewer records than Size; else after an empty
// page. An empty page is yielded too. The first error ends it.
//
// A page that begins with the same record as the one before it is an error of
// KindBadResponse: the vendor ignores the page parameter, and reading on would
// never end.
func (c *Client) Pages(ctx context.Context, req Request, p PageNumber) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		op := req.op()
		var first []byte // record of the page before
		for number := p.First; ; number++ {
			req.Op = fmt.Sprintf("%s page %d", op, number)
			page, last, err := c.page(ctx, req, p, number, first)
			if err != nil {
				yield(Page{}, err)
				return
			}
			if !last {
				first = append(first[:0], page.Records[0]...) // before it may be released
			}
			if !yield(page, nil) || last {
				return
			}
		}
	}
}

// page reads one page; first is the first record of the page before. A page that
// is not the last one has records.
func (c *Client) page(ctx context.Context, req Request, p PageNumber, number int, first []byte) (page Page, last bool, err error) {
	query := url.Values{}
	maps.Copy(query, req.Query)
	query.Set(p.Param, strconv.Itoa(number))
	if p.SizeParam != "" {
		query.Set(p.SizeParam, strconv.Itoa(p.Size))
	}
	req.Query = query
	var (
		records [][]byte
		known   bool
	)
	req.Read = func(r *Response) (err error) {
		if records, err = p.Records(r); err == nil && p.Last != nil {
			last, known, err = p.Last(r, number, len(records))
		}
		return err
	}
	resp, err := c.Do(ctx, req)
	if err != nil {
		return Page{}, false, err
	}
	if len(records) > 0 && first != nil && bytes.Equal(records[0], first) {
		return Page{}, false, &connector.Error{
			Kind: connector.KindBadResponse, Op: req.Op,
			Err:  fmt.Errorf("the page begins like the one before it: the server ignores %s", p.Param),
			Hint: "this list may not be paged, or by a parameter of another name",
		}
	}
	last = len(records) == 0 || (known && last) || (!known && len(records) < p.Size)
	return Page{Number: number, Response: resp, Records: records}, last, nil
}

// LastByCount returns a Last that reads the number of pages from the answer, at
// the given path, as a number or a string that holds one: page is the last one
// when page-base+1 >= count, where base is the number of the vendor's first
// page. An answer without the count is not known.
func LastByCount(base int, path ...string) func(r *Response, page, records int) (last, known bool, err error) {
	return func(r *Response, page, _ int) (last, known bool, err error) {
		value, ok, err := jsonscan.Lookup(r.Body, path...)
		if err != nil || !ok {
			return false, false, err
		}
		count, err := strconv.Atoi(string(bytes.Trim(value, `"`)))
		if err != nil || count < 0 {
			return false, false, nil
		}
		return page-base+1 >= count, true, nil
	}
}
