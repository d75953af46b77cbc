package generic

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// Conditions are expr-lang's: maintained, without dependencies, and typed, so that
// a misspelt name is found when the manifest is read. An evaluation costs about a
// microsecond, which is nothing beside the request that each one here is about.

// An errorFacts is what a rule's condition is about.
type errorFacts struct {
	Status  int    `expr:"status"`
	Code    string `expr:"code"`
	Reason  string `expr:"reason"`
	Message string `expr:"message"`
}

// maxCondition bounds the memory that one evaluation may take, in the library's
// own unit of elements made.
const maxCondition = 10_000

// parseErrorCondition compiles a condition over an error. Names and types are
// checked now.
func parseErrorCondition(text string) (*vm.Program, error) {
	return compile(text, expr.Env(errorFacts{}))
}

// parseRecordCondition compiles a condition over a record's fields; one that is
// absent is nil.
func parseRecordCondition(text string) (*vm.Program, error) {
	return compile(text, expr.Env(map[string]any{}), expr.AllowUndefinedVariables())
}

func compile(text string, options ...expr.Option) (*vm.Program, error) {
	options = append(options, expr.AsBool(), expr.DisableBuiltin("now")) // P6: no clock
	program, err := expr.Compile(text, options...)
	if err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("no condition: %s", message)
	}
	return program, nil
}

// holds evaluates a condition.
func holds(program *vm.Program, facts any) (bool, error) {
	machine := vm.VM{MemoryBudget: maxCondition}
	answer, err := machine.Run(program, facts)
	if err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		return false, fmt.Errorf("condition: %s", message)
	}
	yes, ok := answer.(bool)
	if !ok {
		return false, fmt.Errorf("condition: got %T instead of true or false", answer)
	}
	return yes, nil
}
