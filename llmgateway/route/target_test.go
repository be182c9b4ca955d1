package route

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

const second = time.Second

// TestDeadlinesEndAnAttempt has one target with deadlines and a second that answers at once.
func TestDeadlinesEndAnAttempt(t *testing.T) {
	upstream := fails(llmgateway.Upstream)
	tests := []struct {
		name   string
		target Target
		does   []any
		text   string
		tried  string
		kind   llmgateway.Kind
		took   time.Duration
	}{
		{"first token in time", Target{FirstTokenTimeout: 3 * second}, []any{2 * second, "a", 9 * second, "b"}, "a b", "", "", 11 * second},
		{"first token too late", Target{FirstTokenTimeout: 3 * second}, []any{4 * second, "a"}, "b", "a timeout", "", 3 * second},
		{"no token at all", Target{FirstTokenTimeout: 3 * second}, []any{time.Hour}, "b", "a timeout", "", 3 * second},
		{"a role is no token", Target{FirstTokenTimeout: 3 * second}, []any{2 * second, "~role", 2 * second, "a"}, "b", "a timeout", "", 3 * second},
		{"many empty events are no token", Target{FirstTokenTimeout: 3 * second}, []any{"~1", second, "~2", second, "~3", second, "~4", second, "a"}, "b", "a timeout", "", 3 * second},
		{"an error in time is the error", Target{FirstTokenTimeout: 3 * second}, []any{2 * second, upstream}, "b", "a upstream", "", 2 * second},
		{"silence between tokens", Target{StreamIdleTimeout: 3 * second}, []any{"a", 4 * second, "c"}, "a", "", llmgateway.Timeout, 3 * second},
		{"silence later", Target{StreamIdleTimeout: 3 * second}, []any{"a", 2 * second, "b", 2 * second, "c", 2 * second, "d", 4 * second}, "a b c d", "", llmgateway.Timeout, 9 * second},
		{"a long answer without silence", Target{StreamIdleTimeout: 3 * second}, []any{"a", 2 * second, "b", 2 * second, "c", 2 * second, "d"}, "a b c d", "", "", 6 * second},
		{"silence before the first token is another deadline's", Target{StreamIdleTimeout: 3 * second}, []any{"~role", 9 * second, "a"}, "role a", "", "", 9 * second},
		{"an empty event does not end silence", Target{StreamIdleTimeout: 3 * second}, []any{"a", 2 * second, "~", 2 * second, "b"}, "a ", "", llmgateway.Timeout, 3 * second},
		{"the whole attempt, before a token", Target{Timeout: 3 * second}, []any{4 * second, "a"}, "b", "a timeout", "", 3 * second},
		{"the whole attempt, after a token", Target{Timeout: 3 * second}, []any{"a", 2 * second, "b", 2 * second, "c"}, "a b", "", llmgateway.Timeout, 3 * second},
		{"the whole attempt in time", Target{Timeout: 5 * second}, []any{"a", 2 * second, "b", 2 * second, "c"}, "a b c", "", "", 4 * second},
		{"all of them in time", Target{FirstTokenTimeout: 3 * second, StreamIdleTimeout: 3 * second, Timeout: 9 * second}, []any{2 * second, "a", 2 * second, "b", 2 * second, "c"}, "a b c", "", "", 6 * second},
		{"the provider ends in its own way when it is stopped", Target{FirstTokenTimeout: 3 * second}, []any{canceled{errBoom}}, "b", "a timeout", "", 3 * second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.target.Name, test.target.Provider = "a", does(test.does...)
				r := &Router{Targets: []*Target{&test.target, named("b", does("b"))}, Retries: -1}
				got := ask(t.Context(), r, chat("m"))
				got.check(t, test.text, test.tried, test.kind)
				if got.took != test.took {
					t.Errorf("took %v, want %v", got.took, test.took)
				}
			})
		})
	}
}

func TestDeadlinesSayWhichOnePassed(t *testing.T) {
	for want, target := range map[string]*Target{
		"a: no first token within 3s":  {FirstTokenTimeout: 3 * second},
		"a: no whole answer within 4s": {Timeout: 4 * second},
	} {
		synctest.Test(t, func(t *testing.T) {
			target.Name, target.Provider = "a", does(time.Hour)
			got := ask(t.Context(), &Router{Targets: []*Target{target}}, chat("m"))
			if got.kind() != llmgateway.Timeout || got.err.Message != want {
				t.Errorf("got %v, want %s", got.err, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		got := ask(t.Context(), &Router{Targets: []*Target{{Name: "a", Provider: does("a", time.Hour), StreamIdleTimeout: 3 * second}}}, chat("m"))
		if want := "no further token within 3s"; got.kind() != llmgateway.Timeout || got.err.Message != want {
			t.Errorf("got %v, want %s", got.err, want)
		}
	})
}

// TestEveryTryHasItsOwnDeadlines has a slow target use up its time: the next one has all of its own.
func TestEveryTryHasItsOwnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(name string, p llmgateway.Provider) *Target {
			return &Target{Name: name, Provider: p, FirstTokenTimeout: 10 * second, Timeout: 15 * second}
		}
		r := &Router{Targets: []*Target{slow("a", does(time.Hour)), slow("b", does(time.Hour)), slow("c", does(9*second, "c", 5*second, "d"))}, Retries: -1}
		got := ask(t.Context(), r, chat("m"))
		got.check(t, "c d", "a timeout, b timeout", "")
		if want := 34 * second; got.took != want {
			t.Errorf("took %v, want %v", got.took, want)
		}
	})
}

func TestRoutersTimeoutIsOverAllTries(t *testing.T) {
	tests := []struct {
		name  string
		b     []any
		text  string
		tried string
		kind  llmgateway.Kind
		took  time.Duration
	}{
		{"in time", []any{4 * second, "b"}, "b", "a timeout", "", 14 * second},
		{"before a token", []any{time.Hour}, "", "a timeout, b timeout", llmgateway.Timeout, 15 * second},
		{"after a token", []any{4 * second, "b", 2 * second, "c"}, "b", "a timeout", llmgateway.Timeout, 15 * second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &Router{Timeout: 15 * second, Retries: -1, Targets: []*Target{
					{Name: "a", Provider: does(time.Hour), FirstTokenTimeout: 10 * second}, named("b", does(test.b...)), named("c", does("c")),
				}}
				got := ask(t.Context(), r, chat("m"))
				got.check(t, test.text, test.tried, test.kind)
				if got.took != test.took {
					t.Errorf("took %v, want %v", got.took, test.took)
				}
			})
		})
	}
}

// TestDeadlinesDoNotCountASlowClient has a client that takes ten seconds for each event.
func TestDeadlinesDoNotCountASlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Router{Targets: []*Target{{Name: "a", Provider: does("~role", "a", "b", second, "c"), FirstTokenTimeout: 3 * second, StreamIdleTimeout: 3 * second}}}
		n := 0
		for _, err := range r.Generate(t.Context(), chat("m")) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			time.Sleep(10 * second)
		}
		if n != 4 {
			t.Errorf("got %d events, want 4", n)
		}
	})
}

// TestEventsThatBringNothingAreSilence has providers that go on sending empty deltas, to clients that are slow and that are not.
func TestEventsThatBringNothingAreSilence(t *testing.T) {
	for name, test := range map[string]struct {
		target Target
		slow   time.Duration
		does   []any
		want   string
		fails  bool
	}{
		"for ever":              {Target{StreamIdleTimeout: 3 * second}, 0, []any{"a", second, "~", second, "~", second, "~", second, "~"}, "a", true},
		"and then more":         {Target{StreamIdleTimeout: 3 * second}, 0, []any{"a", second, "~", second, "b", 2 * second, "~", finish}, "ab", false},
		"more, twice":           {Target{StreamIdleTimeout: 3 * second}, 0, []any{"a", second, "~", second, "b", second, "~", second, "~", 2 * second, finish}, "ab", true},
		"to a slow client":      {Target{StreamIdleTimeout: 3 * second}, 10 * second, []any{"a", second, "~", second, "~", finish}, "a", false},
		"under another bound":   {Target{FirstTokenTimeout: 3 * second}, 0, []any{"a", 2 * second, "~", 2 * second, "~", finish}, "a", false},
		"with no bound":         {Target{Timeout: time.Hour}, 0, []any{"a", 2 * second, "~", 2 * second, "~", finish}, "a", false},
		"after the first token": {Target{FirstTokenTimeout: second, StreamIdleTimeout: 3 * second}, 0, []any{"a", "~", 2 * second, "~", finish}, "a", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.target.Name, test.target.Provider = "a", does(test.does...)
				text, failed := "", false
				for event, err := range (&Router{Targets: []*Target{&test.target}}).Generate(t.Context(), chat("m")) {
					if failed = err != nil; failed {
						if e := llmgateway.AsError(err); e.Kind != llmgateway.Timeout || !strings.HasPrefix(e.Message, "no further token") {
							t.Errorf("got %v", err)
						}
						continue
					}
					text += gjson.GetBytes(event.Data, "choices.0.delta.content").Str
					time.Sleep(test.slow)
				}
				if text != test.want || failed != test.fails {
					t.Errorf("got %q, failed %t; want %q, %t", text, failed, test.want, test.fails)
				}
			})
		})
	}
}

const finish = `{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`

// whole returns a request for an answer in one piece.
func whole() *llmgateway.Request {
	req := chat("m")
	req.Stream, req.ClientStream = false, false
	return req
}

// TestTargetWithAFirstTokenTimeoutIsAskedToStream covers clients that do not stream.
func TestTargetWithAFirstTokenTimeoutIsAskedToStream(t *testing.T) {
	tests := []struct {
		name   string
		target Target
		req    func(*llmgateway.Request)
		want   bool
	}{
		{"first token", Target{FirstTokenTimeout: second}, nil, true},
		{"no deadline", Target{}, nil, false},
		{"the whole only", Target{Timeout: second}, nil, false},
		{"silence only", Target{StreamIdleTimeout: second}, nil, false},
		{"completions", Target{FirstTokenTimeout: second}, func(r *llmgateway.Request) { r.Operation = llmgateway.Completion }, true},
		{"embeddings", Target{FirstTokenTimeout: second}, func(r *llmgateway.Request) { r.Operation = llmgateway.Embeddings }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := does("a", finish)
			test.target.Name, test.target.Provider = "a", p
			req := whole()
			if test.req != nil {
				test.req(req)
			}
			got := ask(t.Context(), &Router{Targets: []*Target{&test.target}}, req)
			if got.err != nil {
				t.Fatal(got.err)
			}
			if asked := p.requests[0]; asked.Stream != test.want || asked.ClientStream || got.whole != test.want {
				t.Errorf("got stream %t, client stream %t, one whole answer %t; want %t", asked.Stream, asked.ClientStream, got.whole, test.want)
			}
			if req.Stream {
				t.Error("the request was changed")
			}
		})
	}
}

// TestMergedStreamFallsBackHoweverFarItCame: nothing of it has been passed on.
func TestMergedStreamFallsBackHoweverFarItCame(t *testing.T) {
	for name, test := range map[string]struct {
		does []any
		want string
		took time.Duration
	}{
		"an error in the middle":  {[]any{"~role", "a", "b", fails(llmgateway.Upstream)}, "upstream", 0},
		"silence in the middle":   {[]any{"a", "b", time.Hour}, "timeout", 3 * second},
		"no first token":          {[]any{"~role", time.Hour}, "timeout", 2 * second},
		"too long altogether":     {[]any{"a", 2 * second, "b", 2 * second, "c", 2 * second, "d", 2 * second, "e"}, "timeout", 5 * second},
		"nothing in it":           {[]any{"~role"}, "upstream", 0},
		"no event":                {[]any{}, "upstream", 0},
		"garbage in the middle":   {[]any{"a", "{"}, "upstream", 0},
		"an error after its end":  {[]any{"a", finish, fails(llmgateway.Upstream)}, "upstream", 0},
		"a request that is wrong": {[]any{fails(llmgateway.Overloaded)}, "overloaded", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				deadlines := Target{FirstTokenTimeout: 2 * second, StreamIdleTimeout: 3 * second, Timeout: 5 * second}
				a, b := deadlines, deadlines
				a.Name, a.Provider = "a", does(test.does...)
				b.Name, b.Provider = "b", does("~role", second, "whole", second, finish)
				got := ask(t.Context(), &Router{Targets: []*Target{&a, &b}, Retries: -1}, whole())
				got.check(t, "whole", "a "+test.want, "")
				if !got.whole || got.by != "b" {
					t.Errorf("got whole %t by %q", got.whole, got.by)
				}
				if want := test.took + 2*second; got.took != want {
					t.Errorf("took %v, want %v", got.took, want)
				}
			})
		})
	}
}

func TestMergedStreamIsAnAnswerInOnePiece(t *testing.T) {
	r := &Router{Targets: []*Target{{Name: "a", FirstTokenTimeout: second, Provider: does("~role", "Hel", "lo", finish)}}}
	var got []string
	for event, err := range r.Generate(t.Context(), whole()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(event.Data))
	}
	if len(got) != 1 || !strings.Contains(got[0], `"content":"Hello"`) || !strings.Contains(got[0], `"object":"chat.completion"`) {
		t.Errorf("got %q", got)
	}
}
