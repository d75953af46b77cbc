package ledger

// A SchemaPolicy says what happens when a table and the declaration of its stream
// differ. A table that is not there is made in any case.
type SchemaPolicy string

// The policies. The empty one is SchemaEvolve.
const (
	// SchemaEvolve adds columns that are missing and widens those that can be
	// widened safely. What does not fit then fails the stream.
	SchemaEvolve SchemaPolicy = "evolve"
	// SchemaFreeze changes nothing: a difference fails the stream.
	SchemaFreeze SchemaPolicy = "freeze"
	// SchemaQuarantine changes nothing, and writes what fits the table as it is:
	// columns that it lacks go to _extra, records whose values its columns do not
	// take are set aside.
	SchemaQuarantine SchemaPolicy = "quarantine"
)
