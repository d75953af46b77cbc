package generic

import (
	"github.com/winchdata/winch/pkg/connector"
)

// A manifest declares a vendor's API. The tags are all there is to say about its
// form: the decoder and the published JSON Schema are made from them.
//
//	yaml  the key
//	need  "yes" for a key that must be there
//	enum  what a text may be, parted by |
//	doc   what people read
type manifest struct {
	Version      int               `yaml:"version" need:"yes" enum:"1" doc:"Version of this notation."`
	Name         string            `yaml:"name" need:"yes" doc:"Name of the API, lower_snake_case."`
	Title        string            `yaml:"title" doc:"The vendor's name as people write it."`
	DocsURL      string            `yaml:"docs_url" doc:"The vendor's page about the API."`
	BaseURL      string            `yaml:"base_url" need:"yes" doc:"The API's address, https; the setting base_url takes its place."`
	PathPrefix   string            `yaml:"path_prefix" doc:"What stands before every path, such as /v1. A base URL that ends in it already is taken too."`
	Headers      map[string]string `yaml:"headers" doc:"Headers of every request."`
	Parameters   []parameterSpec   `yaml:"parameters" doc:"What a source can set under parameters."`
	Auth         authSpec          `yaml:"auth" need:"yes" doc:"How a token is fetched. It is sent as Authorization: <type> <token>."`
	JSONInString []string          `yaml:"json_in_string" doc:"Paths in answers at which a string may stand that holds JSON."`
	Errors       errorsSpec        `yaml:"errors" doc:"How answers other than 2xx are read."`
	Rate         rateSpec          `yaml:"rate" doc:"Limits of the API."`
	Concurrency  int               `yaml:"concurrency" doc:"How many requests may be under way at once; default 1."`
	ReadOnlyPost []string          `yaml:"read_only_post" doc:"Paths to which POST only reads. Nothing but GET is sent to all others."`
	Check        checkSpec         `yaml:"check" doc:"A cheap request that proves reach."`
	Streams      []streamSpec      `yaml:"streams" need:"yes" doc:"What can be read."`
}

type parameterSpec struct {
	Name        string   `yaml:"name" need:"yes" doc:"Name, lower_snake_case."`
	Description string   `yaml:"description" doc:"One sentence."`
	Type        string   `yaml:"type" need:"yes" enum:"text|list" doc:"One text, or a list of texts."`
	Default     []string `yaml:"default" doc:"Default; a parameter without one must be set."`
}

type authSpec struct {
	Type            string            `yaml:"type" need:"yes" enum:"oauth2_client_credentials" doc:"The flow."`
	TokenPath       string            `yaml:"token_path" doc:"Path of the token endpoint below base URL and prefix."`
	TokenURL        string            `yaml:"token_url" doc:"Address of the token endpoint, instead of token_path; the setting token_url takes its place."`
	Body            string            `yaml:"body" enum:"json|form|basic" doc:"How the credentials are sent: a JSON object, a form, or HTTP Basic beside a form. Default json."`
	GrantType       string            `yaml:"grant_type" enum:"send|omit" doc:"Whether grant_type=client_credentials is sent. Default send."`
	IDField         string            `yaml:"id_field" doc:"Name of the field of the client id; default client_id."`
	SecretField     string            `yaml:"secret_field" doc:"Name of the field of the client secret; default client_secret."`
	Params          map[string]string `yaml:"params" doc:"Further fields, such as scope."`
	Answer          answerSpec        `yaml:"answer" doc:"Where the answer has the token. A path may lead through strings that hold JSON."`
	DefaultLifetime connector.Span    `yaml:"default_lifetime" doc:"Life of a token whose answer does not tell it, such as 1h."`
}

type answerSpec struct {
	Token     string `yaml:"token" doc:"Path of the token; default access_token."`
	Type      string `yaml:"type" doc:"Path of the token type; default token_type."`
	ExpiresIn string `yaml:"expires_in" doc:"Path of the life in seconds; default expires_in."`
	Scope     string `yaml:"scope" doc:"Path of the scope; default scope."`
}

type errorsSpec struct {
	Code    []string   `yaml:"code" doc:"Paths of the error code in an answer, the first that is there counts."`
	Reason  []string   `yaml:"reason" doc:"Paths of the reason, likewise."`
	Message []string   `yaml:"message" doc:"Paths of the message, likewise."`
	Rules   []ruleSpec `yaml:"rules" doc:"The first rule that holds decides; none: the status does, as usual."`
}

type ruleSpec struct {
	When string `yaml:"when" need:"yes" doc:"Condition over status, code, reason and message."`
	Then string `yaml:"then" need:"yes" enum:"skip|renew|unavailable|rate_limited|auth|forbidden|config|bad_response" doc:"skip: there is nothing for this parent or value. renew: the status decides, so that a 401 renews the token once. unavailable and rate_limited are tried again; the others end the stream (forbidden, bad_response) or the source (auth, config)."`
}

type rateSpec struct {
	Windows     []rateWindow `yaml:"windows" doc:"Limits that hold all at once; the setting rate_limit takes their place."`
	Remaining   string       `yaml:"remaining" doc:"Header with the number of requests that are left."`
	Reset       string       `yaml:"reset" doc:"Header with the moment at which there are more."`
	ResetFormat string       `yaml:"reset_format" enum:"epoch|seconds" doc:"Reset as seconds since 1970, or as seconds from now. Default epoch."`
}

type rateWindow struct {
	Requests int            `yaml:"requests" need:"yes" doc:"How many requests."`
	Per      connector.Span `yaml:"per" need:"yes" doc:"In what time, such as 1m."`
}

type checkSpec struct {
	Path   string            `yaml:"path" doc:"Path of a GET."`
	Params map[string]string `yaml:"params" doc:"Its query parameters."`
}

type streamSpec struct {
	Name        string            `yaml:"name" need:"yes" doc:"Name, lower_snake_case; the table's name."`
	Description string            `yaml:"description" doc:"One sentence."`
	DocsURL     string            `yaml:"docs_url" doc:"The vendor's page about it."`
	Optional    bool              `yaml:"optional" doc:"Read only when named under streams."`
	Method      string            `yaml:"method" enum:"GET|POST" doc:"POST only to paths in read_only_post. Default GET."`
	Path        string            `yaml:"path" need:"yes" doc:"Path below base URL and prefix. Texts in {} are filled in: {parent.field}, {each}, {parameter.name}."`
	Params      map[string]string `yaml:"params" doc:"Query parameters, with {} as in path."`
	Body        map[string]any    `yaml:"body" doc:"JSON body of a POST; its texts with {} as in path."`
	Records     string            `yaml:"records" doc:"Path of the array of records. With [*] in it, arrays inside arrays are gone through: data.countries[*].cities[*]."`
	Record      string            `yaml:"record" doc:"Path of the one record of an answer, instead of records."`
	Each        string            `yaml:"each" doc:"A parameter of type list: one request for each of its values, which is {each}."`
	Add         map[string]string `yaml:"add" doc:"Fields that each record gets: {each}, {parent.field}, or a path of an outer element of records in {}. What the vendor sends itself under that name stays."`
	Key         []string          `yaml:"key" need:"yes" doc:"Columns that identify a record."`
	Columns     []columnSpec      `yaml:"columns" need:"yes" doc:"Columns; what a record holds besides lands in _extra."`
	Personal    []string          `yaml:"personal" doc:"Paths in the record of personal data, which the setting personal_data drops or hashes."`
	Window      *windowSpec       `yaml:"window" doc:"Reads by windows of time. Without it, and without a parent that has it, all is read each time."`
	Slice       connector.Span    `yaml:"slice" doc:"Default length of a window, such as 1d. Default 1d."`
	Lookback    connector.Span    `yaml:"lookback" doc:"Default for how long windows are read again."`
	Lag         connector.Span    `yaml:"lag" doc:"Default for how long after its end a window is not yet read."`
	Paging      pagingSpec        `yaml:"paging" doc:"How a list is cut into pages. Default: it is not."`
	Parent      *parentSpec       `yaml:"parent" doc:"One list or record for each record of another stream."`
}

type columnSpec struct {
	Name        string   `yaml:"name" need:"yes" doc:"Name, lower_snake_case."`
	Type        string   `yaml:"type" need:"yes" enum:"text|bigint|numeric|double|boolean|date|timestamptz|json" doc:"Type."`
	Path        string   `yaml:"path" doc:"Where the value stands in the record, if not under the column's name: status, or recipient.city."`
	Formats     []string `yaml:"formats" doc:"Layouts of a date or timestamptz in the notation of Go; or unix, unix_ms."`
	EmptyIsNull bool     `yaml:"empty_is_null" doc:"Stores an empty text as null."`
	Description string   `yaml:"description" doc:"One sentence."`
}

type windowSpec struct {
	Column     string         `yaml:"column" need:"yes" doc:"The date or timestamptz column whose value lies in the window. Records outside of it are left out."`
	SinceParam string         `yaml:"since_param" need:"yes" doc:"Query parameter of the window's begin."`
	UntilParam string         `yaml:"until_param" need:"yes" doc:"Query parameter of its end."`
	Format     string         `yaml:"format" need:"yes" doc:"How they are written: unix, unix_ms, or a layout in the notation of Go, such as 2006-01-02."`
	Timezone   string         `yaml:"timezone" doc:"The zone in which they are written. Default UTC."`
	Overlap    connector.Span `yaml:"overlap" doc:"How much more is asked for on both sides, where it is not known what a bound includes."`
	Vanished   string         `yaml:"vanished" enum:"keep|delete" doc:"What happens to rows of a window that the vendor no longer reports when it is read again; the setting vanished takes its place. Default keep."`
}

type pagingSpec struct {
	Type      string `yaml:"type" enum:"none|page|offset|cursor|next_url|link" doc:"page: by number. offset: by number of the first record. cursor: by a text that the page before tells. next_url: by an address that the page before has in its body. link: by one that it has in its header Link (RFC 8288), rel=next."`
	Param     string `yaml:"param" doc:"For page, offset and cursor: the query parameter."`
	Start     int    `yaml:"start" doc:"The first page or offset. Default 0."`
	SizeParam string `yaml:"size_param" doc:"Query parameter of the page size."`
	Size      int    `yaml:"size" doc:"Records of a full page."`
	Stop      string `yaml:"stop" enum:"short_or_empty_page|empty_page" doc:"For page and offset: which page is the last one. Default short_or_empty_page."`
	Total     string `yaml:"total" doc:"For page and offset: path of the number of all records: while fewer came, a short page is not the last one."`
	Next      string `yaml:"next" doc:"For cursor and next_url: path of the next cursor or address; the list ends where it is absent, null or empty."`
}

type parentSpec struct {
	Stream   string         `yaml:"stream" need:"yes" doc:"The stream whose records are the parents."`
	Key      string         `yaml:"key" need:"yes" doc:"Column of the parent that identifies it; {parent.<key>} has its value."`
	Open     string         `yaml:"open" doc:"Condition over the fields of a record: while it holds, the record is read again with each pull. For parents that are read by windows."`
	Walk     connector.Span `yaml:"walk" doc:"Parents are listed in windows of this length; after each, what was read is safe. Default: the parent's slice."`
	Lookback connector.Span `yaml:"lookback" doc:"Parents of that last span are read again with each pull, whether open or not."`
}
