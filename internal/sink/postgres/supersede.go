package postgres

// supersede precedes the statement that enters a slice with a window as held: it
// deletes the other rows of the ledger that this makes obsolete. $1 to $5 are the
// slice. Each of the two looks into a short piece of an index: rows that begin in
// the window, and rows that began before it and are not held.
const supersede = `WITH within AS (
	DELETE FROM winch.slices
	WHERE source = $1 AND stream = $2 AND partition = $3 AND since >= $4 AND since < $5
		AND (until <= $5 OR state <> 'held') AND (since, until) <> ($4, $5)
), before AS (
	DELETE FROM winch.slices
	WHERE source = $1 AND stream = $2 AND partition = $3 AND since > '-infinity' AND since < $4
		AND until > $4 AND state <> 'held'
)
`
