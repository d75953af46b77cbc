package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
)

func encodeStreams(streams []connector.Stream) []*connectorpb.Stream {
	messages := make([]*connectorpb.Stream, len(streams))
	for i, s := range streams {
		messages[i] = &connectorpb.Stream{
			Name: s.Name, Description: s.Description, DocsUrl: s.DocsURL, Mode: string(s.Mode),
			PrimaryKey: s.PrimaryKey, Columns: encodeColumns(s.Columns), TimeColumn: s.TimeColumn, PartitionColumn: s.PartitionColumn, Optional: s.Optional,
			Slice: encodeSpan(s.Slice), Lookback: encodeSpan(s.Lookback), Lag: encodeSpan(s.Lag), DeepLookback: encodeSpan(s.DeepLookback), DeepEvery: encodeSpan(s.DeepEvery),
		}
	}
	return messages
}

func decodeStreams(messages []*connectorpb.Stream) []connector.Stream {
	if len(messages) == 0 {
		return nil
	}
	streams := make([]connector.Stream, len(messages))
	for i, m := range messages {
		streams[i] = connector.Stream{
			Name: m.GetName(), Description: m.GetDescription(), DocsURL: m.GetDocsUrl(), Mode: connector.Mode(m.GetMode()),
			PrimaryKey: m.GetPrimaryKey(), Columns: decodeColumns(m.GetColumns()), TimeColumn: m.GetTimeColumn(), PartitionColumn: m.GetPartitionColumn(), Optional: m.GetOptional(),
			Slice: decodeSpan(m.GetSlice()), Lookback: decodeSpan(m.GetLookback()), Lag: decodeSpan(m.GetLag()), DeepLookback: decodeSpan(m.GetDeepLookback()), DeepEvery: decodeSpan(m.GetDeepEvery()),
		}
	}
	return streams
}

func encodeColumns(columns []connector.Column) []*connectorpb.Column {
	messages := make([]*connectorpb.Column, len(columns))
	for i, c := range columns {
		messages[i] = &connectorpb.Column{
			Name: c.Name, Type: string(c.Type), Path: c.Path, Formats: c.Formats, EmptyIsNull: c.EmptyIsNull,
			Description: c.Description, Personal: c.Personal, Secret: c.Secret,
		}
	}
	return messages
}

func decodeColumns(messages []*connectorpb.Column) []connector.Column {
	if len(messages) == 0 {
		return nil
	}
	columns := make([]connector.Column, len(messages))
	for i, m := range messages {
		columns[i] = connector.Column{
			Name: m.GetName(), Type: connector.Type(m.GetType()), Path: m.GetPath(), Formats: m.GetFormats(), EmptyIsNull: m.GetEmptyIsNull(),
			Description: m.GetDescription(), Personal: m.GetPersonal(), Secret: m.GetSecret(),
		}
	}
	return columns
}

func encodeSpan(s connector.Span) *connectorpb.Span {
	if s.IsZero() {
		return nil
	}
	return &connectorpb.Span{Months: int32(s.Months), Days: int32(s.Days), Clock: encodeDuration(s.Clock)}
}

func decodeSpan(m *connectorpb.Span) connector.Span {
	return connector.Span{Months: int(m.GetMonths()), Days: int(m.GetDays()), Clock: m.GetClock().AsDuration()}
}

func encodePull(source uint64, r connector.Request) *connectorpb.PullRequest {
	return &connectorpb.PullRequest{
		Source: source, Stream: r.Stream, Partition: r.Partition, Cursor: r.Cursor,
		WindowSince: encodeTime(r.Window.Since), WindowUntil: encodeTime(r.Window.Until),
		Since: encodeTime(r.Since), AsOf: encodeTime(r.AsOf),
	}
}

func decodePull(m *connectorpb.PullRequest) connector.Request {
	return connector.Request{
		Stream: m.GetStream(), Partition: m.GetPartition(), Cursor: m.GetCursor(),
		Window: connector.Window{Since: decodeTime(m.GetWindowSince()), Until: decodeTime(m.GetWindowUntil())},
		Since:  decodeTime(m.GetSince()), AsOf: decodeTime(m.GetAsOf()),
	}
}

func encodeToken(t connector.Token) *connectorpb.TokenResponse {
	return &connectorpb.TokenResponse{
		Value: t.Value.Reveal(), Type: t.Type, ExpiresAt: encodeTime(t.ExpiresAt), BaseUrl: t.BaseURL, Scope: t.Scope,
	}
}

func decodeToken(m *connectorpb.TokenResponse) connector.Token {
	return connector.Token{
		Value: connector.NewSecret(m.GetValue()), Type: m.GetType(), ExpiresAt: decodeTime(m.GetExpiresAt()),
		BaseURL: m.GetBaseUrl(), Scope: m.GetScope(),
	}
}

func encodeFindings(findings []connector.Finding) []*connectorpb.Finding {
	messages := make([]*connectorpb.Finding, len(findings))
	for i, f := range findings {
		messages[i] = &connectorpb.Finding{Name: validText(f.Name), Detail: validText(f.Detail)}
	}
	return messages
}

func decodeFindings(messages []*connectorpb.Finding) []connector.Finding {
	if len(messages) == 0 {
		return nil
	}
	findings := make([]connector.Finding, len(messages))
	for i, m := range messages {
		findings[i] = connector.Finding{Name: m.GetName(), Detail: m.GetDetail()}
	}
	return findings
}

// encodeUsage returns nil for a usage of nothing.
func encodeUsage(u connector.Usage) *connectorpb.Usage {
	if u == (connector.Usage{}) {
		return nil
	}
	return &connectorpb.Usage{
		Requests: u.Requests, Retries: u.Retries, Bytes: u.Bytes, Waited: encodeDuration(u.Waited),
		TokensFetched: u.TokensFetched, RenewedOn_401: u.RenewedOn401,
		Requesting: encodeDuration(u.Requesting), FetchingTokens: encodeDuration(u.FetchingTokens),
		Status_2Xx: u.Status2xx, Status_3Xx: u.Status3xx, Status_4Xx: u.Status4xx, Status_5Xx: u.Status5xx,
		WaitedForLimit: encodeDuration(u.WaitedForLimit),
	}
}

func decodeUsage(m *connectorpb.Usage) connector.Usage {
	return connector.Usage{
		Requests: m.GetRequests(), Retries: m.GetRetries(), Bytes: m.GetBytes(), Waited: m.GetWaited().AsDuration(),
		TokensFetched: m.GetTokensFetched(), RenewedOn401: m.GetRenewedOn_401(),
		Requesting: m.GetRequesting().AsDuration(), FetchingTokens: m.GetFetchingTokens().AsDuration(),
		Status2xx: m.GetStatus_2Xx(), Status3xx: m.GetStatus_3Xx(), Status4xx: m.GetStatus_4Xx(), Status5xx: m.GetStatus_5Xx(),
		WaitedForLimit: m.GetWaitedForLimit().AsDuration(),
	}
}

func encodeLimits(l connector.Limits) *connectorpb.LimitsResponse {
	m := &connectorpb.LimitsResponse{Concurrency: int32(l.Concurrency), PerPartition: l.PerPartition}
	for _, r := range l.Rates {
		m.Rates = append(m.Rates, &connectorpb.Rate{Requests: int32(r.Requests), Per: durationpb.New(r.Per)})
	}
	return m
}

func decodeLimits(m *connectorpb.LimitsResponse) connector.Limits {
	l := connector.Limits{Concurrency: int(m.GetConcurrency()), PerPartition: m.GetPerPartition()}
	for _, r := range m.GetRates() {
		l.Rates = append(l.Rates, connector.Rate{Requests: int(r.GetRequests()), Per: r.GetPer().AsDuration()})
	}
	return l
}

func encodeTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func decodeTime(m *timestamppb.Timestamp) time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.AsTime()
}

func encodeDuration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
