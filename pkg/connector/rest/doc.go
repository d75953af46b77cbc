// Package rest has the HTTP manners of a connector: requests signed when they
// are sent, rate and concurrency limits, retries with backoff and Retry-After,
// bounds on what is read, an allow-list of hosts, errors that a person
// understands, paging, and tools for raw JSON records.
package rest
