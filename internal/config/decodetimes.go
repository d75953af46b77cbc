package config

import (
	"net"
	"strconv"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

func (d *decoder) schedule(p path, loc *time.Location) Schedule {
	text, ok := d.text(p)
	if !ok {
		return Schedule{}
	}
	s, err := parseSchedule(text, loc)
	if err != nil {
		d.bad(p, text, err.Error(), "")
		return Schedule{}
	}
	return s
}

// duration reads a time of hours, minutes and seconds, not of days or months.
func (d *decoder) duration(p path, standard time.Duration) time.Duration {
	text, ok := d.text(p)
	if !ok {
		return standard
	}
	span, err := connector.ParseSpan(text)
	if err != nil || span.Months != 0 || span.Days != 0 || span.Clock < 0 {
		d.bad(p, text, "want a time such as 10m or 1h30m", "")
		return standard
	}
	return span.Clock
}

const (
	defaultGrace      = 30 * time.Second
	defaultStuckAfter = 15 * time.Minute
)

func (d *decoder) serve() Serve {
	p := path{"serve"}
	s := Serve{
		Listen:     DefaultListen,
		Grace:      d.duration(p.key("grace"), defaultGrace),
		StuckAfter: d.duration(p.key("stuck_after"), defaultStuckAfter),
	}
	if s.StuckAfter == 0 {
		d.bad(p.key("stuck_after"), "0", "want a positive time such as 15m", "")
	}
	text, ok := d.text(p.key("listen"))
	if !ok {
		return s
	}
	s.Listen = text
	_, port, err := net.SplitHostPort(text)
	if n, numErr := strconv.ParseUint(port, 10, 16); err != nil || numErr != nil || n > 65535 {
		d.bad(p.key("listen"), text, "want a host and a port such as "+DefaultListen+", or :8420 for all addresses of this machine", "")
	}
	return s
}
