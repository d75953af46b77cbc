package kaisa

import (
	"crypto/md5" //nolint:gosec // anum_md5 is what the vendor calls it: an opaque key of a caller
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A call is a call record. How it looks depends on the simulated now:
//
//	start    end   +30 s      +5..30 min       +2 days              +7 days
//	|--------|-----|----------|----------------|--------------------|
//	               appears    recording_id     duration adjusted,   order matched
//	                                           for some             at the latest, for some
type call struct {
	id          int64
	start       int64
	duration    int64
	adjusted    bool
	answered    bool
	quarantined bool
	customer    *customer
	source      *source
	caller      int64
	area        *sim.Area
	recorded    int64 // moment at which the recording can be read; 0: never
	order       int64 // moment at which an order was matched; 0: never
	value       int64 // of the order, in hundredths
}

const (
	// longestCall bounds duration, so that everything that started earlier than
	// this and writeDelay ago is known to have been written.
	longestCall = 3600
	// writeDelay is how long after its end a call appears (that calls are written
	// only after they end is inferred).
	writeDelay = 30
	// settling is how long after its start a call may still change.
	settling = 7 * day
)

// inboundCall makes the call of an event of the inbound timeline. known says
// whether it has been written by asOf.
func (a *API) inboundCall(e sim.Event, asOf int64) (c call, known bool) {
	d := e.Dice
	c = call{id: e.ID, start: e.Start}
	c.source = a.dialled(&d, e.Start)
	c.customer = c.source.customer
	c.duration, c.answered = length(&d, 0.82)
	if c.start+c.duration+writeDelay > asOf {
		return c, false
	}
	c.quarantined = c.source.status(e.Start) == "quarantined"
	c.caller, c.area = a.callerOf(&d, c.customer)
	extra := d.Next()
	// Two in a hundred durations are adjusted later.
	if extra%64 == 0 && c.duration > 10 && asOf >= c.start+2*day {
		c.adjusted = true
		c.duration -= 1 + c.duration/10
	}
	if ready := c.start + c.duration + 300 + int64(extra>>8%1500); c.answered && c.source.records && asOf >= ready {
		c.recorded = ready
	}
	// One call in sixteen that is long enough becomes an order, most of them soon.
	if extra>>32%16 == 0 && c.duration >= 60 {
		share := float64(extra>>40) / (1 << 24)
		if at := c.start + c.duration + writeDelay + int64(share*share*share*(settling-longestCall-writeDelay)); asOf >= at {
			c.order, c.value = at, 1900+int64(extra>>20%400000)
		}
	}
	return c, true
}

// outboundCall is inboundCall for calls made from the account.
func (a *API) outboundCall(e sim.Event, asOf int64) (c call, known bool) {
	d := e.Dice
	c = call{id: e.ID, start: e.Start}
	c.source = a.dialled(&d, e.Start)
	c.customer = c.source.customer
	c.duration, c.answered = length(&d, 0.64)
	if c.start+c.duration+writeDelay > asOf {
		return c, false
	}
	c.caller, c.area = a.callerOf(&d, c.customer)
	return c, true
}

// dialled draws a source. The first customers have the most calls.
func (a *API) dialled(d *sim.Dice, start int64) *source {
	draw := d.Next()
	u := float64(draw>>40) / (1 << 24)
	i := int(u * u * float64(len(a.customers)))
	for n := 0; !a.customers[i].present(start) && n < len(a.customers); n++ {
		i = (i + 1) % len(a.customers)
	}
	sources := a.customers[i].sources
	k := int(draw&0xffff) % len(sources)
	for ; k > 0; k-- { // the first is always in service
		if status := sources[k].status(start); status == "active" || status == "extended" || (status == "quarantined" && draw>>16&7 == 0) {
			break
		}
	}
	return &sources[k]
}

// length draws a duration: missed calls have none, most are short, a few very
// long.
func length(d *sim.Dice, answered float64) (seconds int64, ok bool) {
	if !d.Chance(answered) {
		return 0, false
	}
	u := d.Unit()
	return min(5+int64(150*u/(1.02-u)), longestCall), true
}

// callerOf draws a caller from the customer's own clientele, in which people
// call again; one in twenty calls from another country.
func (a *API) callerOf(d *sim.Dice, c *customer) (number int64, area *sim.Area) {
	draw := d.Next()
	caller := sim.Roll(sim.Mix(a.seed, tagCaller), uint64(c.index), draw%4096*(draw>>16%4096)>>12)
	country := c.country
	if caller.Chance(0.05) {
		country = &sim.Countries[caller.Below(len(sim.Countries))]
	}
	return country.Number(&caller)
}

// recording is the id of the call's recording. The call's id is folded into it,
// so that the call can be found by it.
func (a *API) recording(callID int64) [16]byte {
	d := sim.Roll(sim.Mix(a.seed, tagRecording), uint64(callID), 0)
	high := d.Next()
	u := sim.UUIDOf(high, 0)
	binary.BigEndian.PutUint64(u[8:], 2<<62|(uint64(callID)^a.fold(u))&^(3<<62))
	return u
}

func (a *API) fold(u [16]byte) uint64 { return sim.Mix(a.seed, binary.BigEndian.Uint64(u[:8])) }

// callOf is the id of the call whose recording is u, if u is one.
func (a *API) callOf(u [16]byte) (callID int64, ok bool) {
	callID = int64((binary.BigEndian.Uint64(u[8:]) ^ a.fold(u)) &^ (3 << 62))
	return callID, a.recording(callID) == u
}

func appendOrderID(dst []byte, callID int64) []byte {
	return strconv.AppendInt(append(dst, "SO-"...), callID, 36)
}

// writeCall writes the fields of Developer API: statistics cdrs out. Of the
// extended ones, the campaign's, the conversion's and the recording's are read
// by a client of inbound calls (inferred), so only inbound calls have them.
func (a *API) writeCall(f *sim.Fields, c *call, inbound, extended bool) {
	var scratch [40]byte
	f.Begin()
	f.QuotedInt("cdr_id", c.id)
	f.Time("start", c.start)
	f.QuotedInt("duration", c.duration)
	f.Flag("duration_adjusted", c.adjusted)
	masked := strconv.AppendInt(append(scratch[:0], '+'), c.caller, 10)
	copy(masked[len(masked)-3:], "xxx")
	f.Plain("anum", masked)
	f.Plain("anum_md5", a.appendCallerKey(scratch[:0], c.caller))
	c.source.base.write(f)
	f.Flag("answered", c.answered)
	f.Flag("quarantined", c.quarantined)
	f.Text("anum_ndc_name", c.area.Label)
	if extended {
		a.writeExtended(f, c, inbound, scratch[:0])
	}
	f.End()
}

func (a *API) writeExtended(f *sim.Fields, c *call, inbound bool, scratch []byte) {
	c.source.extended.write(f)
	f.Text("source_name", c.source.nameAt(c.start))
	if !inbound {
		return
	}
	if m := c.source.campaign; m != nil && c.start >= m.created {
		f.QuotedInt("campaign_id", m.id)
		f.TextOrNull("partner_campaign_id", m.partnerID)
		f.QuotedInt("pricing_model_id", m.pricing)
	} else {
		f.Null("campaign_id")
		f.Null("partner_campaign_id")
		f.Null("pricing_model_id")
	}
	f.QuotedIntOrNull("publisher_id", c.source.publisher)
	f.Null("partner_publisher_id")
	if c.order != 0 {
		f.Plain("commission", appendHundredths(scratch, c.value/20))
		f.Plain("cli_id", strconv.AppendInt(append(scratch, "c-"...), c.caller%100000, 10))
		f.Plain("order_id", appendOrderID(scratch, c.id))
	} else {
		f.Null("commission")
		f.Null("cli_id")
		f.Null("order_id")
	}
	if c.recorded != 0 {
		f.Plain("recording_id", sim.AppendUUID(scratch, a.recording(c.id)))
	} else {
		f.Null("recording_id")
	}
}

// A fragment is fields that all calls of a source share. Their JSON is made once,
// since calls are what there are many of.
type fragment struct {
	fields func(*sim.Fields)
	json   []byte
}

func newFragment(fields func(*sim.Fields)) fragment {
	var f sim.Fields
	fields(&f)
	return fragment{fields, f.JSON}
}

func (p *fragment) write(f *sim.Fields) {
	if f.Landing() {
		p.fields(f)
		return
	}
	f.Comma()
	f.JSON = append(f.JSON, p.json...)
}

// makeFragments is for a source that will not change any more.
func (s *source) makeFragments() {
	s.base = newFragment(func(f *sim.Fields) {
		f.Text("bnum", sim.E164(s.tracking))
		f.Text("cnum", sim.E164(s.answering))
		f.QuotedInt("customer_id", s.customer.id)
		f.QuotedInt("source_id", s.id)
		f.Text("custnr", s.customer.custnr)
	})
	s.extended = newFragment(func(f *sim.Fields) {
		f.Time("timestamp", s.activates)
		f.Time("expire", s.expires)
		f.Text("source_media", s.media)
		f.QuotedInt("class", s.class)
		f.Text("custom_1", s.customer.region)
	})
}

// appendCallerKey appends the salted MD5 of the full number.
func (a *API) appendCallerKey(dst []byte, caller int64) []byte {
	var text [32]byte
	salted := binary.BigEndian.AppendUint64(text[:0], a.seed)
	sum := md5.Sum(strconv.AppendInt(salted, caller, 10)) //nolint:gosec // see the import
	return hex.AppendEncode(dst, sum[:])
}

// appendHundredths appends v/100 with two decimals.
func appendHundredths(dst []byte, v int64) []byte {
	dst = strconv.AppendInt(dst, v/100, 10)
	return append(dst, '.', byte('0'+v/10%10), byte('0'+v%10))
}

func parseUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	digits, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	if err != nil {
		return u, false
	}
	return [16]byte(digits), true
}
