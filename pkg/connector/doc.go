// Package connector is what the author of a connector imports. It needs nothing
// but the standard library.
//
// A connector is the program that knows one vendor. It is described by a
// [Definition], a plain struct literal; opened with the configuration of one
// account it becomes a [Source]; a source has [Stream]s; pulling one slice of a
// stream emits records, raw JSON objects as the vendor sent them, into an
// [Emitter]. The agent decides what to pull and when, decodes the records by the
// stream's declared columns, and writes them to a sink.
//
// A whole connector's main is
//
//	func main() { serve.Main(definition) }
//
// with serve from the package pkg/connector/serve.
//
// # Contract
//
// The rules below are numbered so that tests and comments can cite them. The
// package connectortest examines a connector against each of them.
//
//	P1   Everything that belongs before a checkpoint has been emitted before it.
//	P2   A successful pull of a cursor stream that emitted a record ends with a checkpoint.
//	P3   After the emitter returns an error nothing more is emitted and that
//	     error is returned (wrapped is fine).
//	P4   After cancellation Pull returns within five seconds, with an error that
//	     wraps ctx.Err().
//	P5   Stopping anywhere and resuming from the last checkpoint yields the same
//	     set of primary keys as not stopping.
//	P6   The same request gives the same requests to the vendor: no clock, no
//	     randomness that matters.
//	P7   A cursor the connector cannot read is KindConfig with a hint, never a
//	     silent fresh start, before the first record. The agent then fails the
//	     slice, leaves the others alone, and names the command that starts over.
//	P8   Primary keys are present and not null in every record; a record is one
//	     JSON object.
//	P9   Only what was asked for is pulled: a window is read whole, and nothing
//	     outside of it is needed to read it.
//	P10  No secret appears in a record, a cursor, an error or a log line.
//
// # Modes
//
// A snapshot stream is read whole each time; what was there and is no longer
// reported has vanished. A window stream is read by half-open time windows,
// since <= t < until, each of which can be read again at any time. A cursor
// stream is read from an opaque position that only the connector understands.
package connector
