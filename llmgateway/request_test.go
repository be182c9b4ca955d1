package llmgateway

import (
	"context"
	"iter"
	"testing"
)

func TestLookupReturnsTheLastOfARepeatedMember(t *testing.T) {
	r := &Request{
		Body:    NewBody([]byte(`{"a":1,"b":2,"a":3}`)),
		Members: []Member{{"a", 1, 5, 6}, {"b", 7, 11, 12}, {"a", 13, 17, 18}},
	}
	m, ok := r.Lookup("a")
	if got := string(r.Raw(m)); !ok || got != "3" {
		t.Errorf("got %q, %t, want 3, true", got, ok)
	}
	if _, ok := r.Lookup("c"); ok {
		t.Error("found a member that is not there")
	}
}

func TestContextTraceIsNeverNil(t *testing.T) {
	if ContextTrace(t.Context()) == nil {
		t.Error("got nil without a trace")
	}
	want := &Trace{}
	if got := ContextTrace(WithTrace(t.Context(), want)); got != want {
		t.Error("got another trace than was set")
	}
}

type silent struct{}

func (silent) Generate(context.Context, *Request) iter.Seq2[Event, error] {
	return func(func(Event, error) bool) {}
}

type failing struct{ silent }

func (failing) Status() Status { return Status{State: StateFailed, Detail: "crashed"} }

func TestProviderThatReportsNothingCountsAsReady(t *testing.T) {
	if got := StatusOf(silent{}); got.State != StateReady {
		t.Errorf("got %s, want ready", got.State)
	}
	if got := StatusOf(failing{}); got != (Status{State: StateFailed, Detail: "crashed"}) {
		t.Errorf("got %+v, want what it reports", got)
	}
}

func TestModelsThatAreNotLoadedYetAreLive(t *testing.T) {
	for state, want := range map[State]bool{
		StateReady: true, StateIdle: true, StateLoading: true, StateFailed: false, StateDisabled: false,
	} {
		if got := state.Live(); got != want {
			t.Errorf("%s: got %t, want %t", state, got, want)
		}
	}
}
