package sink

import (
	"errors"
	"fmt"

	"github.com/winchdata/winch/pkg/connector"
)

// ErrNoRun says that no run has the id that was asked for.
var ErrNoRun = errors.New("no such run")

// A Fault says what is wrong with a store.
type Fault int

// The faults.
const (
	// FaultOther: not classified; not retried.
	FaultOther Fault = iota
	// FaultUnreachable: no connection, or it was lost. Worth a retry.
	FaultUnreachable
	// FaultTransient: the store gave up this transaction but is well:
	// deadlock, serialization failure, lock timeout. Worth a retry.
	FaultTransient
	// FaultDenied: wrong password, missing privilege, missing database.
	FaultDenied
	// FaultFull: no space left, or a quota is used up.
	FaultFull
	// FaultReadOnly: a read-only disk, file or replica.
	FaultReadOnly
	// FaultSchema: a table that is there cannot take the declared stream.
	FaultSchema
	// FaultVersion: a newer program migrated this store.
	FaultVersion
	// FaultFenced: the agent no longer holds the source, another may.
	FaultFenced
)

// An Error is a failure of the store, not of the vendor or of a record.
type Error struct {
	Fault Fault
	Op    string // what was being done: "copy into kaisa_se.customers"
	Err   error
	Hint  string // what a person could try
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same work may succeed a moment later.
func (e *Error) Retryable() bool {
	return e.Fault == FaultUnreachable || e.Fault == FaultTransient
}

// HintOf returns what a person could try about an error, of a store or of a
// connector; empty if nobody said.
func HintOf(err error) string {
	var store *Error
	if errors.As(err, &store) {
		return store.Hint
	}
	return connector.HintOf(err)
}

// Busy says that another agent pulls the source, or has the whole store for itself.
type Busy struct {
	Source string // empty: the whole store
	Holder string // who, as far as known: "pid 4711"
	// Held is the source that is held: Source, or another one of its budget.
	Held string
}

func (e *Busy) Error() string {
	switch {
	case e.Source == "" && e.Holder == "":
		return "the store is in use by another agent"
	case e.Source == "":
		return fmt.Sprintf("the store is in use by another agent (%s)", e.Holder)
	}
	if e.Holder == "" {
		return fmt.Sprintf("source %s is being pulled by another agent", e.Source)
	}
	return fmt.Sprintf("source %s is being pulled by another agent (%s)", e.Source, e.Holder)
}
