// Package sim holds what the simulated vendors share: the world they describe,
// values drawn from a seed, a record writer, token bookkeeping and HTTP Digest.
//
// Nothing here knows a vendor. A vendor is a package beside this one with a type
// that implements [API]; the sandbox mounts it, switches faults on around it and
// counts its requests.
//
// Every record is a function of (seed, its own number, the simulated now), never
// of what was asked before. So a million calls need no memory, any page can be
// made alone, moving the simulated now restates the past, and a test can compute
// what must have landed.
package sim
