package contentsquare

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A job is an extraction that somebody has defined.
type job struct {
	id                      int64
	name, format, scope     string
	frequency, state, label string
	project                 *project
	first                   time.Time // start of the first run
	once                    bool
	daily                   int // rows of a day
}

const (
	// fileLife is how long files are kept, as documented.
	fileLife = 7 * day
	// runTime is how long a run takes. Unknown; this is a stand-in.
	runTime = 2 * time.Hour
)

func makeJobs(a *API, p *project, n int64) []job {
	first := a.world.Begin.Add(day)
	sessions := max(2, int(float64(a.world.Size)*2*a.world.Volume))
	return []job{
		{id: 1119 + 10*n, name: "sessions-daily", format: "JSONL", scope: "sessions", frequency: "daily", state: "ACTIVE", label: "all", project: p, first: first, daily: sessions},
		{id: 1120 + 10*n, name: "views-daily", format: "CSV", scope: "views", frequency: "daily", state: "ACTIVE", label: "mobile", project: p, first: first, daily: 3 * sessions},
		{id: 1121 + 10*n, name: "sessions-again", format: "JSONL", scope: "sessions", frequency: "once", state: "COMPLETED", label: "all", project: p, first: a.world.Origin.Truncate(day).Add(-3 * day), once: true, daily: sessions},
	}
}

func (j *job) json() map[string]any {
	return map[string]any{
		"jobId": j.id, "name": j.name, "format": j.format, "scope": j.scope, "frequency": j.frequency, "state": j.state, "deviceLabel": j.label,
	}
}

// A run is one execution of a job; it exports the day before its start.
type run struct {
	job   *job
	id    int64
	start time.Time
	parts int
	fails bool
}

// runs are those that have started, the oldest first.
func (a *API) runs(j *job, asOf time.Time) (all []run) {
	for start := j.first; !start.After(asOf); start = start.Add(day) {
		number := int64(start.Sub(j.first) / day)
		dice := sim.Roll(sim.Mix(a.seed, tagRun), uint64(j.id), uint64(start.Unix()))
		one := run{job: j, id: 100*j.id + 100_000 + number, start: start, parts: dice.Between(1, 2)}
		one.fails = dice.Chance(0.1) && !j.once
		all = append(all, one)
		if j.once {
			break
		}
	}
	return all
}

func (r *run) state(asOf time.Time) string {
	switch {
	case asOf.Before(r.start.Add(runTime)):
		return "RUNNING"
	case r.fails:
		return "FAILURE"
	}
	return "SUCCESS"
}

// kept reports whether the run has files now.
func (r *run) kept(asOf time.Time) bool {
	return r.state(asOf) == "SUCCESS" && asOf.Before(r.start.Add(runTime+fileLife))
}

func (r *run) json(asOf time.Time) map[string]any {
	rate := 100
	if r.state(asOf) == "RUNNING" {
		rate = 40
	}
	return map[string]any{"jobRunId": r.id, "startDate": r.start.Format(vendorTime), "state": r.state(asOf), "completionRate": rate}
}

// page cuts a list by page, from 1, and limit, 20 by default.
func (a *API) page(r *request, all []map[string]any) (any, *failure) {
	number := func(name string, absent int) int {
		n, err := strconv.Atoi(r.URL.Query().Get(name))
		if err != nil || n < 1 {
			return absent
		}
		return n
	}
	page, limit := number("page", 1), min(number("limit", 20), a.opts.MaxLimit)
	if r.twist.RepeatPage {
		page = 1
	}
	if pages := (len(all) + limit - 1) / limit; r.twist.EndlessPages && pages > 0 {
		page = (page-1)%pages + 1
	}
	from := min((page-1)*limit, len(all))
	return slices.Clip(append([]map[string]any{}, all[from:min(from+limit, len(all))]...)), nil
}

func (a *API) serveJobs(r *request) (any, *failure) {
	var all []map[string]any
	for i := range r.project.jobs {
		all = append(all, r.project.jobs[i].json())
	}
	return a.page(r, all)
}

func (p *project) job(id int64) *job {
	i := slices.IndexFunc(p.jobs, func(j job) bool { return j.id == id })
	if i < 0 {
		return nil
	}
	return &p.jobs[i]
}

func (a *API) serveRuns(r *request) (any, *failure) {
	j := r.project.job(r.ids[0])
	if j == nil {
		return nil, notFound("job", r.ids[0])
	}
	var all []map[string]any
	for _, one := range a.runs(j, r.asOf) {
		all = append(all, one.json(r.asOf))
	}
	if r.URL.Query().Get("order") != "ASC" {
		slices.Reverse(all)
	}
	return a.page(r, all)
}

func (a *API) findRun(p *project, jobID, runID int64, asOf time.Time) (run, bool) {
	j := p.job(jobID)
	if j == nil {
		return run{}, false
	}
	all := a.runs(j, asOf)
	i := slices.IndexFunc(all, func(one run) bool { return one.id == runID })
	if i < 0 {
		return run{}, false
	}
	return all[i], true
}

func (a *API) serveRun(r *request) (any, *failure) {
	one, ok := a.findRun(r.project, r.ids[0], r.ids[1], r.asOf)
	if !ok {
		return nil, notFound("run", r.ids[1])
	}
	detail := one.json(r.asOf)
	files := []map[string]any{}
	if one.kept(r.asOf) {
		for part := range one.parts {
			path := fmt.Sprintf("%d/%d/%d/%d", r.project.ID, one.job.id, one.id, part)
			files = append(files, map[string]any{"partId": part, "url": a.address(r.Request) + filesPath + path + "?signature=" + a.sign(path)})
		}
	}
	detail["files"] = files
	return detail, nil
}

// sign is what makes an address of a file good without a token.
func (a *API) sign(path string) string {
	mac := hmac.New(sha256.New, strconv.AppendUint(nil, sim.Mix(a.seed, tagSignature), 16))
	mac.Write([]byte(path))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// serveFile answers with a gzipped part of a run.
func (a *API) serveFile(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, filesPath)
	var projectID, jobID, runID int64
	var part int
	if n, _ := fmt.Sscanf(path, "%d/%d/%d/%d", &projectID, &jobID, &runID, &part); n != 4 || !sim.Equal(r.URL.Query().Get("signature"), a.sign(path)) {
		http.Error(w, "the signature does not fit", http.StatusForbidden)
		return
	}
	asOf := a.world.AsOf()
	i := slices.IndexFunc(a.projects, func(p *project) bool { return p.ID == projectID })
	var one run
	found := false
	if i >= 0 {
		one, found = a.findRun(a.projects[i], jobID, runID, asOf)
	}
	if !found || !one.kept(asOf) || part >= one.parts {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	zipped := gzip.NewWriter(w)
	defer func() { _ = zipped.Close() }() // the client has gone: nobody to tell
	if one.job.format == "CSV" {
		table := csv.NewWriter(zipped)
		_ = table.Write(viewFields) // the client has gone: nobody to tell
		for n := range one.rows(part) {
			_ = table.Write(a.view(&one, part, n)) // as above
		}
		table.Flush()
		return
	}
	for n := range one.rows(part) {
		_, _ = zipped.Write(append(a.session(&one, part, n).json(a.opts.NestedFields), '\n')) // as above
	}
}

// rows is how many rows a part has.
func (r *run) rows(part int) int {
	n := r.job.daily / r.parts
	if part == 0 {
		n += r.job.daily % r.parts
	}
	return n
}

func (a *API) rowDice(r *run, part, n int) sim.Dice {
	// A job of the same scope exports the same day alike.
	return sim.Roll(sim.Mix(sim.Mix(a.seed, tagRow), uint64(r.project().ID)<<8|uint64(len(r.job.scope))), uint64(r.start.Unix()), uint64(part)<<32|uint64(n))
}

func (r *run) project() *project { return r.job.project }

// A session is a row of scope sessions. User ids have all 64 bits.
type session struct {
	project           int64
	user, session     uint64
	begin             time.Time
	country, city     string
	views, length     int
	revenue           int
	eventName, unhash string
	eventTime         string
}

func (a *API) session(r *run, part, n int) session {
	dice := a.rowDice(r, part, n)
	s := session{
		project: r.project().ID, user: dice.Next() | 1<<63, session: dice.Next() >> 1,
		begin:   r.start.Add(-day).Add(time.Duration(dice.Below(86400)) * time.Second),
		country: sim.Pick(&dice, []string{"FR", "SE", "US"}), city: sim.Pick(&dice, []string{"Málaga", "日本橋", `O"Fallon, IL`}),
		views: dice.Between(1, 20), length: dice.Between(1000, 900_000), revenue: dice.Below(2) * dice.Between(100, 90_000),
	}
	s.eventName, s.eventTime = "start", s.begin.Format("2006-01-02 15:04")
	return s
}

func (s session) json(nested bool) []byte {
	m := map[string]any{
		"project_id": s.project, "user_id": s.user, "user_id_unhashed": s.unhash, "session_id": s.session,
		"session_date": s.begin.Format(time.DateOnly), "session_time": s.begin.Format(time.DateTime),
		"country_code": s.country, "city": s.city, "device_id": 2, "session_number_of_views": s.views, "session_duration_msec": s.length,
		"session_transactions_revenue_cents": s.revenue,
	}
	if nested {
		m["app_events"] = map[string]any{"event_name": []string{s.eventName}, "event_time": []string{s.eventTime}}
	} else {
		m["app_events.event_name"], m["app_events.event_time"] = []string{s.eventName}, []string{s.eventTime}
	}
	var text bytes.Buffer
	_ = json.NewEncoder(&text).Encode(m) // of texts and numbers: never fails
	return bytes.TrimSpace(text.Bytes())
}

// viewFields are the header of a file of scope views.
var viewFields = []string{"project_id", "session_id", "url_no_query_param", "device_id", "scroll_rate", "view_duration_msec", "is_first", "is_last"}

func (a *API) view(r *run, part, n int) []string {
	dice := a.rowDice(r, part, n)
	first := dice.Below(2)
	return []string{
		strconv.FormatInt(r.project().ID, 10), strconv.FormatUint(dice.Next()>>1, 10),
		sim.Pick(&dice, []string{"https://www.example.com/p/1", "https://www.example.com/search,all", "https://www.example.com/\"q\""}),
		"2", strconv.FormatFloat(float64(dice.Below(1000))/10, 'f', -1, 64), strconv.Itoa(dice.Between(100, 90_000)),
		strconv.Itoa(first), strconv.Itoa(1 - first),
	}
}

// The members of the following beyond a field's name are stand-ins: the vendor's
// pages that could be read do not tell them.

func (a *API) serveFields(r *request) (any, *failure) {
	names := exportable[r.URL.Query().Get("scope")]
	list := []map[string]any{}
	for _, name := range names {
		list = append(list, map[string]any{"name": name})
	}
	return list, nil
}

var exportable = map[string][]string{
	"sessions": {"project_id", "session_id", "user_id", "country_code", "city", "app_events.event_name"},
	"views":    {"project_id", "session_id", "url_no_query_param", "scroll_rate"},
}

func (a *API) serveCustomVars(*request) (any, *failure) {
	return []map[string]any{{"standIn": "page_template"}, {"standIn": "login"}}, nil
}

func (a *API) serveDynamicVars(r *request) (any, *failure) {
	for _, name := range []string{"from", "to"} {
		if _, err := time.Parse(time.DateOnly, r.URL.Query().Get(name)); err != nil {
			return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "%s: want a date", name)
		}
	}
	return []string{"AB_test", "basket"}, nil
}
