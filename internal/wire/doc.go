// Package wire takes a connector across a process boundary: connector.proto is
// the protocol, [Server] puts it in front of a [connector.Definition], [Client]
// makes a [connector.Source] of it again.
//
// What a source returns and what arrives are the same, with these exceptions:
// times arrive in UTC; an error arrives as one [connector.Error] with the text,
// kind, hint and delay of the whole chain; an error counts as a cancelled call
// only when the call itself was cancelled, not when the connector gave up on
// something of its own.
package wire

//go:generate go tool -modfile=../../tools/go.mod buf generate
