package wire

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

// limited is a source that knows its limits.
type limited struct {
	source
	limits connector.Limits
}

func (l limited) Limits(context.Context) (connector.Limits, error) { return l.limits, nil }

func TestLimitsOfASourceCross(t *testing.T) {
	t.Parallel()
	var want connector.Limits
	fill(t, reflect.ValueOf(&want).Elem())
	got, err := across(t, limited{limits: want}).Limits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := across(t, source{}).Limits(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a source without limits: %v", err)
	}
}
