package generic

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/url"
	"strconv"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// list reads a list, page after page, and hands each record to each, as the
// vendor sent it, which has it until it returns. A page that begins as an earlier
// one did is an error, as is a place that was asked for before: the vendor ignores
// the parameter, or the list has no end.
func (s *source) list(ctx context.Context, st *stream, values scope, w connector.Window, each func(raw []byte) error) error {
	req, err := s.request(st, values, w)
	if err != nil {
		return err
	}
	pages := pager{paging: st.paging, position: strconv.Itoa(st.paging.Start), places: newSeen()}
	begun := newSeen()
	op := req.Op
	for number := 1; ; number++ {
		if st.paging.Type != pagingNone {
			pages.ask(&req)
			req.Op = fmt.Sprintf("%s page %d", op, number)
		}
		answer, records, err := s.client.rest.DoRecords(ctx, req, func(r *rest.Response) ([][]byte, error) { return s.api.split(st, r.Body) })
		if err != nil {
			return err
		}
		if len(records) > 0 && begun.before(records[0]) {
			return at(req.Op, st.paging.endless("the page begins as an earlier one did"))
		}
		for _, raw := range records {
			if err := each(raw); err != nil {
				return err
			}
		}
		more, err := pages.next(answer, len(records))
		if err != nil {
			return at(req.Op, err)
		}
		if !more {
			return nil
		}
		answer.Release()
	}
}

// endless is the error of a list that goes in a circle.
func (p *paging) endless(what string) error {
	why := "the list has no end"
	if p.Param != "" {
		why = fmt.Sprintf("the vendor ignores %s, or %s", p.Param, why)
	}
	return &connector.Error{
		Kind: connector.KindBadResponse, Err: fmt.Errorf("%s: %s", what, why),
		Hint: "see paging in the manifest",
	}
}

// seen remembers by hashes of eight bytes.
type seen struct {
	seed maphash.Seed
	all  map[uint64]bool
}

func newSeen() *seen { return &seen{maphash.MakeSeed(), map[uint64]bool{}} }

// before reports whether b was there before, and remembers it.
func (s *seen) before(b []byte) bool {
	sum := maphash.Bytes(s.seed, b)
	was := s.all[sum]
	s.all[sum] = true
	return was
}

// A pager knows where the next page is.
type pager struct {
	paging
	position string // page, offset, cursor, or the address of the next page
	received int
	asked    bool
	places   *seen // cursors and addresses that were asked for
}

// ask puts the position into a request. The first page of a list with cursors or
// addresses has none; the address of a later one has all that is asked for.
func (p *pager) ask(req *rest.Request) {
	first := !p.asked
	p.asked = true
	switch {
	case p.named() && !first:
		req.Path, req.Query = p.position, nil
		return
	case p.named(), p.Type == pagingCursor && first:
	default:
		req.Query.Set(p.Param, p.position)
	}
	if p.SizeParam != "" {
		req.Query.Set(p.SizeParam, strconv.Itoa(p.Size))
	}
}

// next moves on after a page of that many records, and reports whether there is
// another page. The vendor's total, where there is one, only makes a short page
// not the last: it never ends a list.
func (p *pager) next(answer *rest.Response, records int) (more bool, err error) {
	p.received += records
	switch p.Type {
	case pagingNone:
		return false, nil
	case pagingCursor:
		return p.goTo(scalarText(rest.Field(answer.Body, p.paging.next...)), "the next cursor was sent before")
	case pagingNextURL, pagingLink:
		address := scalarText(rest.Field(answer.Body, p.paging.next...))
		if p.Type == pagingLink {
			address = rest.NextLink(answer.Header)
		}
		if address == "" {
			return false, nil
		}
		if address, err = absolute(answer.URL, address); err != nil {
			return false, err
		}
		return p.goTo(address, "the address of the next page was asked for before")
	}
	if records == 0 {
		return false, nil
	}
	if p.Stop != stopEmpty && records < p.Size {
		total, err := strconv.Atoi(strings.TrimSpace(scalarText(rest.Field(answer.Body, p.total...))))
		if p.total == nil || err != nil || p.received >= total {
			return false, nil
		}
	}
	step := 1
	if p.Type == pagingOffset {
		step = records
	}
	at, err := strconv.Atoi(p.position)
	if err != nil {
		return false, err
	}
	p.position = strconv.Itoa(at + step)
	return true, nil
}

// goTo moves to a place that the vendor named; the empty one is the end.
func (p *pager) goTo(place, again string) (more bool, err error) {
	if place != "" && p.places.before([]byte(place)) {
		return false, p.endless(again)
	}
	p.position = place
	return place != "", nil
}

// absolute returns the address of a next page, which may be relative to the
// answer that names it. Whether credentials may go there is rest's to say; the
// address is never shown, it may hold what is secret.
func absolute(base, reference string) (string, error) {
	from, err := url.Parse(base)
	if err != nil {
		return "", badResponse("the address of the next page cannot be read")
	}
	to, err := from.Parse(reference)
	if err != nil || to.Host == "" || to.Scheme != "https" && to.Scheme != "http" {
		return "", badResponse("the address of the next page cannot be read")
	}
	to.Fragment = ""
	return to.String(), nil
}
