package sink

import (
	"fmt"
	"slices"
	"strings"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// A Difference is a column in which a table and the declaration of its stream
// differ.
type Difference struct {
	Column   string
	Declared string // type in the words of the store
	// AtRest is the table's type in the words of the store, empty where the table
	// lacks the column, and Type the column type that it stands for, if any.
	AtRest string
	Type   connector.Type
	// Fix are the statements that would make the table fit, if there are any, and
	// Safe says that they lose nothing.
	Fix  []string
	Safe bool
	// Own says that it is one of the columns that the sink adds.
	Own bool
	// Blocked says why the fix cannot be made as things are; empty if it can.
	Blocked string
}

// String returns the difference as errors tell it.
func (d Difference) String() string {
	text := fmt.Sprintf("column %s is %s, the stream declares %s", d.Column, d.AtRest, d.Declared)
	if d.AtRest == "" {
		text = fmt.Sprintf("column %s is missing, the stream declares %s", d.Column, d.Declared)
	}
	if d.Blocked != "" {
		text += "; " + d.Blocked
	}
	return text
}

// Widens reports whether each value of one type is a value of the other, so that
// what was written by the one can be kept in the other and what people compute
// from it stays right. Text could hold anything, but no sum of it.
func Widens(from, to connector.Type) bool {
	return from == connector.TypeBigint && to == connector.TypeNumeric
}

// Reconcile says what becomes of the differences by a policy: the statements to
// run, and the stream as its records are to be written then. An error, of type
// *Error, tells all that cannot be made to fit; op begins it.
func Reconcile(op string, policy ledger.SchemaPolicy, stream connector.Stream, differences []Difference) (connector.Stream, []string, error) {
	var (
		changes []string
		wrong   []Difference
	)
	stream.Columns = slices.Clone(stream.Columns)
	for _, d := range differences {
		i := slices.IndexFunc(stream.Columns, func(c connector.Column) bool { return c.Name == d.Column })
		switch {
		case policy == ledger.SchemaFreeze, d.Own && (d.AtRest != "" || d.Blocked != ""):
			wrong = append(wrong, d)
		case d.Own:
			changes = append(changes, d.Fix...)
		case d.Type != "" && Widens(stream.Columns[i].Type, d.Type):
			// The table is wider already, as after a declaration was taken back.
			retype(&stream.Columns[i], d.Type)
		case policy == ledger.SchemaQuarantine && d.AtRest == "" && !needed(stream, d.Column):
			stream.Columns = slices.Delete(stream.Columns, i, i+1)
		case policy == ledger.SchemaQuarantine && d.Type != "":
			retype(&stream.Columns[i], d.Type)
		case policy != ledger.SchemaQuarantine && d.Safe && d.Blocked == "":
			changes = append(changes, d.Fix...)
		default:
			wrong = append(wrong, d)
		}
	}
	if len(wrong) > 0 {
		return stream, nil, misfit(op, policy, wrong)
	}
	if err := stream.Validate(); err != nil {
		return stream, nil, &Error{Fault: FaultSchema, Op: op, Err: err, Hint: "the table's types do not allow the stream's key or time column: rename or drop the table, and read the stream again"}
	}
	return stream, changes, nil
}

// retype declares a column with the table's type.
func retype(c *connector.Column, t connector.Type) {
	c.Type = t
	if t != connector.TypeDate && t != connector.TypeTimestamp {
		c.Formats = nil
	}
}

// needed reports whether the stream cannot be written without the column.
func needed(stream connector.Stream, column string) bool {
	return column == stream.TimeColumn || column == stream.PartitionColumn || slices.Contains(stream.PrimaryKey, column)
}

// misfit tells the differences, column by column, and what a person can run.
func misfit(op string, policy ledger.SchemaPolicy, wrong []Difference) error {
	var texts, fixes []string
	for _, d := range wrong {
		texts = append(texts, d.String())
		fixes = append(fixes, d.Fix...)
	}
	text := strings.Join(texts, "; ")
	if policy == ledger.SchemaFreeze {
		text = "the schema is frozen: " + text
	}
	hint := "rename or drop the table and read the stream again: it is then made as declared"
	if len(fixes) > 0 {
		hint = "where the values allow it, run " + strings.Join(fixes, "; ") + "; or " + hint
		if policy == ledger.SchemaFreeze {
			hint = "run " + strings.Join(fixes, "; ") + "; or set schema: evolve"
		}
	}
	return &Error{Fault: FaultSchema, Op: op, Err: fmt.Errorf("%s", text), Hint: hint}
}
