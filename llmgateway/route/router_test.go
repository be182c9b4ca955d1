package route

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// TestRouterFallsBackUntilSomethingIsPassedOn is the commit rule.
func TestRouterFallsBackUntilSomethingIsPassedOn(t *testing.T) {
	upstream := fails(llmgateway.Upstream)
	tests := []struct {
		name  string
		a, b  []any
		text  string
		tried string
		by    string
		kind  llmgateway.Kind
	}{
		{"the first answers", []any{"a", "b"}, []any{"x"}, "a b", "", "a", ""},
		{"the first fails at once", []any{upstream}, []any{"x"}, "x", "a upstream", "b", ""},
		{"the first fails after a role", []any{"~role", upstream}, []any{"~role", "x"}, "role x", "a upstream", "b", ""},
		{"the first fails after many empty events", []any{"~1", "~2", "~3", upstream}, []any{"x"}, "x", "a upstream", "b", ""},
		{"the first ends without an event", []any{}, []any{"x"}, "x", "a upstream", "b", ""},
		{"the first ends after a role", []any{"~role"}, []any{"x"}, "x", "a upstream", "b", ""},
		{"the first fails in a way of its own", []any{errBoom}, []any{"x"}, "x", "a upstream", "b", ""},
		{"empty events before and between", []any{"~role", "a", "~nothing", "b"}, []any{"x"}, "role a nothing b", "", "a", ""},
		{"it breaks after the first word", []any{"a", upstream}, []any{"x"}, "a", "", "a", llmgateway.Upstream},
		{"it breaks after a role and a word", []any{"~role", "a", upstream}, []any{"x"}, "role a", "", "a", llmgateway.Upstream},
		{"it breaks after an empty event behind a word", []any{"a", "~nothing", upstream}, []any{"x"}, "a nothing", "", "a", llmgateway.Upstream},
		{"both fail", []any{upstream}, []any{fails(llmgateway.Overloaded)}, "", "a upstream, b overloaded", "", llmgateway.Upstream},
		{"both fail alike", []any{fails(llmgateway.RateLimited)}, []any{fails(llmgateway.RateLimited)}, "", "a rate_limited, b rate_limited", "", llmgateway.RateLimited},
		{"both are empty", []any{}, []any{"~role"}, "", "a upstream, b upstream", "", llmgateway.Upstream},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &Router{Targets: []*Target{named("a", does(test.a...)), named("b", does(test.b...))}, Retries: -1}
			got := ask(t.Context(), r, chat("m"))
			got.check(t, test.text, test.tried, test.kind)
			if got.by != test.by {
				t.Errorf("answered by %q, want %q", got.by, test.by)
			}
		})
	}
}

// TestRouterTriesTheNextTargetByKind says which failures end a request.
func TestRouterTriesTheNextTargetByKind(t *testing.T) {
	for kind, next := range map[llmgateway.Kind]bool{
		llmgateway.InvalidRequest: false,
		llmgateway.ContentFilter:  false,
		llmgateway.Canceled:       false,
		llmgateway.ContextLength:  true,
		llmgateway.Unsupported:    true,
		llmgateway.NoModel:        true,
		llmgateway.Denied:         true,
		llmgateway.RateLimited:    true,
		llmgateway.Overloaded:     true,
		llmgateway.Timeout:        true,
		llmgateway.Upstream:       true,
	} {
		r := &Router{Targets: []*Target{named("a", does(fails(kind))), named("b", does("x"))}, Retries: -1}
		got := ask(t.Context(), r, chat("m"))
		switch {
		case next && (got.text != "x" || got.err != nil):
			t.Errorf("%s: got %q, %v; want the next target's answer", kind, got.text, got.err)
		case !next && (got.text != "" || got.kind() != kind || !strings.Contains(got.err.Message, "it is")):
			t.Errorf("%s: got %q, %v; want the error itself", kind, got.text, got.err)
		}
	}
}

// TestRouterAsksAnotherTargetForAnAnswerWithNothingInIt: only if there is none, the model has nothing to say.
func TestRouterAsksAnotherTargetForAnAnswerWithNothingInIt(t *testing.T) {
	finished := func(yield func(llmgateway.Event, error) bool) {
		_ = yield(event("~role"), nil) && yield(llmgateway.Event{Data: []byte(finish), Carries: true, FinishReason: "stop"}, nil)
	}
	empty := func() llmgateway.Provider {
		return generator(func(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] { return finished })
	}
	for _, test := range []struct {
		name    string
		router  Router
		by      string
		tried   string
		content string
	}{
		{"another", Router{Targets: []*Target{named("a", empty()), named("b", does("b", finish))}, Retries: -1}, "b", "a upstream", "b"},
		{"nobody else", Router{Targets: []*Target{named("a", empty())}, Retries: 3}, "a", "", "role"},
		{"no retries", Router{Targets: []*Target{named("a", empty()), named("b", does("b", finish))}}, "a", "", "role"},
		{"all of them", Router{Targets: []*Target{named("a", empty()), named("b", empty())}, Retries: -1}, "b", "a upstream", "role"},
		{"it was slow", Router{
			Targets: []*Target{named("a", empty()), named("b", does("b", finish))}, Retries: -1, Hedge: &Hedge{After: time.Hour, Share: 1},
		}, "b", "a upstream", "b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ask(t.Context(), &test.router, chat("m"))
			if got.err != nil || got.by != test.by || strings.Join(got.tried, ", ") != test.tried || !strings.HasPrefix(got.text, test.content) {
				t.Errorf("got %q by %q, tried %q, error %v", got.text, got.by, got.tried, got.err)
			}
		})
	}
}

// generator is a provider that is a function.
type generator func(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error]

func (g generator) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return g(ctx, req)
}

func TestRouterPassesHeldEventsOnInOrder(t *testing.T) {
	var steps []any
	var want []string
	for i := range 40 {
		steps = append(steps, fmt.Sprintf("~%d", i))
		if i < maxHeld {
			want = append(want, fmt.Sprint(i))
		}
	}
	steps = append(steps, "word")
	want = append(want, "word")
	r := &Router{Targets: []*Target{named("a", does(steps...))}}
	ask(t.Context(), r, chat("m")).check(t, strings.Join(want, " "), "", "")
}

func TestRouterLetsHeldEventsWaitForTheOneThatCarries(t *testing.T) {
	r := &Router{Targets: []*Target{named("a", does("~role", "word"))}}
	var more []bool
	for event, err := range r.Generate(t.Context(), chat("m")) {
		if err != nil {
			t.Fatal(err)
		}
		more = append(more, event.More)
	}
	if want := []bool{true, false}; !slices.Equal(more, want) {
		t.Errorf("got %t, want %t", more, want)
	}
}

func TestRouterNamesEveryTargetThatFailed(t *testing.T) {
	off := &disabled{"api_key {env.KEY} is empty"}
	denied := &llmgateway.Error{Kind: llmgateway.Denied, Message: "refused", Err: errors.New("401: who are you")}
	r := &Router{Targets: []*Target{named("local", does(fails(llmgateway.Overloaded))), named("hf", off), named("router", does(denied))}, Retries: -1}
	got := ask(t.Context(), r, chat("m"))
	got.check(t, "", "local overloaded, router denied", llmgateway.Upstream)
	want := "every target failed: hf: disabled: api_key {env.KEY} is empty; local: it is overloaded; router: refused"
	if got.err.Message != want {
		t.Errorf("got  %q\nwant %q", got.err.Message, want)
	}
	if !strings.Contains(got.err.Error(), "401: who are you") {
		t.Errorf("the cause is not in %q", got.err)
	}
}

func TestRouterKeepsTheErrorOfItsOnlyTarget(t *testing.T) {
	only := &llmgateway.Error{Kind: llmgateway.ContextLength, Status: 400, Message: "too long", Param: "messages", Code: "c", RetryAfter: time.Second}
	r := &Router{Targets: []*Target{named("a", does(only))}}
	got := ask(t.Context(), r, chat("m")).err
	if got.Kind != only.Kind || got.Param != only.Param || got.Code != only.Code || got.RetryAfter != only.RetryAfter || got.Message != "a: too long" {
		t.Errorf("got %+v", got)
	}
}

// disabled is a provider that its configuration switched off.
type disabled struct {
	detail string
}

func (*disabled) Generate(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	panic("a disabled provider was asked")
}

func (d *disabled) Status() llmgateway.Status {
	return llmgateway.Status{State: llmgateway.StateDisabled, Detail: d.detail}
}

func TestRouterOfDisabledTargetsSaysSo(t *testing.T) {
	r := &Router{Targets: []*Target{named("a", &disabled{"no key"}), named("b", &disabled{"no URL"})}, Retries: -1}
	got := ask(t.Context(), r, chat("m"))
	got.check(t, "", "", llmgateway.Overloaded)
	if want := "every target failed: a: disabled: no key; b: disabled: no URL"; got.err.Message != want {
		t.Errorf("got %q, want %q", got.err.Message, want)
	}
}

func TestRouterOfNoTargetsSaysSo(t *testing.T) {
	ask(t.Context(), &Router{}, chat("m")).check(t, "", "", llmgateway.NoModel)
}

func TestRouterAsksOnlyTheNamedProvider(t *testing.T) {
	a, b, again := does(fails(llmgateway.Upstream)), does("b"), does("again")
	r := &Router{Targets: []*Target{named("a", a), named("b", b), named("a", again)}, Retries: -1}
	req := chat("m")
	req.Provider = "a"
	ask(t.Context(), r, req).check(t, "again", "a upstream", "")
	if b.asked() != 0 {
		t.Error("another provider was asked")
	}
	req.Provider = "b"
	ask(t.Context(), r, req).check(t, "b", "", "")
}

func TestRouterAsksTargetsForTheirOwnNameOfTheModel(t *testing.T) {
	var asked []string
	note := func(req *llmgateway.Request) { asked = append(asked, req.Model) }
	upstream := fails(llmgateway.Upstream)
	r := &Router{Retries: -1, Targets: []*Target{
		{Name: "a", Provider: does(note, upstream), Model: "vendor/model"},
		{Name: "b", Provider: does(note, upstream)},
		{Name: "c", Provider: modeler{does(note, upstream)}},
		{Name: "d", Provider: modeler{does(note, upstream)}, Model: "another"},
	}}
	req := chat("public")
	ask(t.Context(), r, req)
	if want := []string{"vendor/model", "public", "file.gguf", "another"}; !slices.Equal(asked, want) {
		t.Errorf("got %q, want %q", asked, want)
	}
	if req.Model != "public" {
		t.Error("the request was changed")
	}
}

type modeler struct{ *script }

func (modeler) ModelInfo() llmgateway.ModelInfo { return llmgateway.ModelInfo{Name: "file.gguf"} }

func TestRouterCountsAClientThatLeftAsNoFailure(t *testing.T) {
	for name, steps := range map[string][]any{
		"while waiting":                       {time.Hour},
		"while waiting after a role":          {"~role", time.Hour},
		"the provider says it its own way":    {canceled{errors.New("use of closed network connection")}},
		"the provider takes it for a timeout": {canceled{fails(llmgateway.Timeout)}},
		"the provider says nothing":           {canceled{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				a, b := does(steps...), does("b")
				r := &Router{Targets: []*Target{named("a", a), named("b", b)}, Retries: 5, TryInterval: time.Second}
				got := ask(ctx, r, chat("m"))
				got.check(t, "", "a canceled", llmgateway.Canceled)
				if b.asked() != 0 || got.took != time.Second {
					t.Errorf("asked the next target %d times, took %v", b.asked(), got.took)
				}
			})
		})
	}
}

func TestRouterStopsTheGenerationWhenTheLoopEnds(t *testing.T) {
	for name, steps := range map[string][]any{
		"at the first event":             {"a", "b", "c"},
		"at an event that was held back": {"~role", "a", "b"},
	} {
		p := does(steps...)
		n := 0
		for _, err := range (&Router{Targets: []*Target{named("a", p)}}).Generate(t.Context(), chat("m")) {
			if err != nil {
				t.Error(err)
			}
			n++
			break
		}
		if n != 1 || p.stopped != 1 {
			t.Errorf("%s: got %d events, stopped %d generations", name, n, p.stopped)
		}
	}
}

func TestRouterCountsAttempts(t *testing.T) {
	var got []string
	ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{
		Tried: func(a llmgateway.Attempt) {
			got = append(got, fmt.Sprintf("%d %s/%s failed", a.Number, a.Provider, a.Model))
		},
		Answering: func(a llmgateway.Attempt) {
			got = append(got, fmt.Sprintf("%d %s/%s answers", a.Number, a.Provider, a.Model))
		},
	})
	r := &Router{Retries: -1, Targets: []*Target{named("a", does(errBoom)), {Name: "b", Provider: does("~role", "x", "y"), Model: "other"}}}
	for _, err := range r.Generate(ctx, chat("m")) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, "event")
	}
	if want := []string{"1 a/m failed", "2 b/other answers", "event", "event", "event"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
