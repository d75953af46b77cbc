package wire

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/winchdata/winch/internal/wire/connectorpb"
	"github.com/winchdata/winch/pkg/connector"
)

const (
	domain        = "winch.connector"
	metaOp        = "op"
	metaUnsupport = "unsupported"
	metaEnded     = "ended"
	endedCanceled = "canceled"
	endedDeadline = "deadline_exceeded"

	// maxText bounds an error's text in bytes. It travels in HTTP/2 trailers,
	// whose size a peer may limit.
	maxText = 16 << 10
)

// codeOf gives each kind the code that a reader of traces expects. Nothing is
// ever read back from it.
var codeOf = map[connector.Kind]codes.Code{
	connector.KindUnknown:     codes.Unknown,
	connector.KindConfig:      codes.InvalidArgument,
	connector.KindAuth:        codes.Unauthenticated,
	connector.KindForbidden:   codes.PermissionDenied,
	connector.KindRateLimited: codes.ResourceExhausted,
	connector.KindUnavailable: codes.Unavailable,
	connector.KindBadResponse: codes.DataLoss,
}

// encodeFault makes a status of what a source returned, nil of nil. The context
// is that of the call: an error is a cancellation only if the call was cancelled.
func encodeFault(ctx context.Context, err error, details ...protoadapt.MessageV1) error {
	if err == nil {
		return nil
	}
	kind := connector.KindOf(err)
	info := &errdetails.ErrorInfo{Domain: domain, Reason: strings.ToUpper(kind.String()), Metadata: map[string]string{}}
	code := codeOf[kind]
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		code, info.Metadata[metaEnded] = codes.DeadlineExceeded, endedDeadline
	case ctx.Err() != nil:
		code, info.Metadata[metaEnded] = codes.Canceled, endedCanceled
	case errors.Is(err, errors.ErrUnsupported):
		code, info.Metadata[metaUnsupport] = codes.Unimplemented, "true"
	}
	if e, ok := err.(*connector.Error); ok && e.Op != "" { //nolint:errorlint // only the outermost one's text begins with its Op
		info.Metadata[metaOp] = validText(e.Op)
	}
	details = append([]protoadapt.MessageV1{info}, details...)
	if wait := connector.RetryAfterOf(err); wait > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	if hint := connector.HintOf(err); hint != "" {
		details = append(details, &errdetails.LocalizedMessage{Locale: "en", Message: validText(hint)})
	}
	st := status.New(code, validText(err.Error()))
	if detailed, err := st.WithDetails(details...); err == nil { // else the details cannot be encoded, and the bare status is all there is
		st = detailed
	}
	return st.Err()
}

// validText makes a text fit for a protobuf string: UTF-8 and of bounded length.
func validText(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// A fault is what a status says.
type fault struct {
	err      error // never nil
	usage    connector.Usage
	findings []connector.Finding
}

// decodeFault reads a status that encodeFault made; ok is false for any other.
func decodeFault(st *status.Status) (f fault, ok bool) {
	e := &connector.Error{}
	var meta map[string]string
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == domain {
				ok, meta = true, d.GetMetadata()
				e.Kind = connector.ParseKind(strings.ToLower(d.GetReason()))
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = max(0, d.GetRetryDelay().AsDuration())
		case *errdetails.LocalizedMessage:
			e.Hint = d.GetMessage()
		case *connectorpb.Usage:
			f.usage = decodeUsage(d)
		case *connectorpb.CheckResponse:
			f.findings = decodeFindings(d.GetFindings())
		}
	}
	if !ok {
		return fault{}, false
	}
	text := st.Message()
	if rest, cut := strings.CutPrefix(text, meta[metaOp]+": "); cut && meta[metaOp] != "" {
		e.Op, text = meta[metaOp], rest
	}
	e.Err = errors.New(text)
	switch {
	case meta[metaEnded] == endedCanceled:
		e.Err = caused{e.Err, context.Canceled}
	case meta[metaEnded] == endedDeadline:
		e.Err = caused{e.Err, context.DeadlineExceeded}
	case meta[metaUnsupport] == "true":
		e.Err = caused{e.Err, errors.ErrUnsupported}
	}
	f.err = e
	return f, true
}

// caused has one error's text and is another one.
type caused struct {
	error
	cause error
}

func (c caused) Unwrap() error { return c.cause }
