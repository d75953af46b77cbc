// Package scheduler decides when a source is pulled, and hands the work to whoever
// is free. A schedule says when; the store says whether a tick is decided; a queue
// says who does it.
//
// There is no leader. Each agent works out the ticks that are due by the store's
// clock, and decides each in a transaction of the store (see sink.Schedules): who
// commits first has decided, and everybody finds the same row that says why. A queue
// that is part of the store adds the job of a tick in the same transaction.
package scheduler
