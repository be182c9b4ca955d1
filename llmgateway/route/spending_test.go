package route

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
)

// bill asks a router and returns what each attempt has used: the provider, tokens of prompt and answer, and what is wrong with
// that. leave ends the request after so long; 0: it stays. stop leaves the loop at the first event.
func bill(ctx context.Context, p llmgateway.Provider, req *llmgateway.Request, leave time.Duration, stop bool) (lines []string) {
	ctx = llmgateway.WithTrace(ctx, &llmgateway.Trace{Spent: func(s llmgateway.Spending) {
		line := fmt.Sprintf("%s %d+%d", s.Attempt.Provider, s.Used.PromptTokens, s.Used.CompletionTokens)
		if !s.Told {
			line += " untold"
		}
		if s.Unseen {
			line += " unseen"
		}
		lines = append(lines, line)
	}})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if leave > 0 {
		defer time.AfterFunc(leave, cancel).Stop()
	}
	for _, err := range p.Generate(ctx, req) {
		if stop || err != nil {
			break
		}
	}
	return lines
}

func TestEveryAttemptIsAccountedForOnce(t *testing.T) {
	told := llmgateway.Usage{PromptTokens: 7, CompletionTokens: 5, TotalTokens: 12}
	used := &llmgateway.Error{Kind: llmgateway.Upstream, Message: "malformed", Used: new(llmgateway.Usage)}
	hedged := func(r *Router) { r.Hedge = &Hedge{After: time.Second, Share: 1} }
	resumed := func(r *Router) { r.Resume = true }
	patient := func(r *Router) {
		for _, t := range r.Targets {
			t.FirstTokenTimeout = time.Minute
		}
	}
	hurried := func(r *Router) {
		for _, t := range r.Targets {
			t.Timeout = time.Minute
		}
	}
	for _, test := range []struct {
		name  string
		a, b  *script
		with  func(*Router)
		whole bool
		leave time.Duration
		stop  bool
		want  string
	}{
		{name: "the provider counts", a: does("one", "two", told), want: "a 7+5"},
		{name: "the provider counts nothing", a: does("one", "two"), want: "a 0+2 untold"},
		{name: "refused, then answered", a: does(fails(llmgateway.RateLimited)), b: does("one", told), want: "b 7+5"},
		{name: "no connection, then answered", a: does(errBoom), b: does("one", told), want: "b 7+5"},
		{name: "broken before the answer", a: does("~role", errBoom), b: does("one", told), want: "a 0+0 untold, b 7+5"},
		{name: "begun, and then malformed", a: does(used), b: does("one", told), want: "a 0+0 untold, b 7+5"},
		{name: "a count before it breaks", a: does(told, errBoom), b: does("one", told), want: "a 7+5, b 7+5"},
		{name: "broken in the middle", a: does("one", "two", errBoom), want: "a 0+2 untold"},
		{name: "silent for too long", a: does(time.Hour), b: does("one", told), with: patient, want: "a 0+0 untold, b 7+5"},
		{name: "merged", a: does("one", told), with: patient, whole: true, want: "a 7+5"},
		{name: "merged, and broken after two tokens", a: does("one", "two", errBoom), b: does("one", told), with: patient, whole: true, want: "a 0+2 untold, b 7+5"},
		{name: "merged, and silent after two tokens", a: does("one", "two", time.Hour), b: does("one", told), with: hurried, want: "a 0+2 untold"},
		{name: "in one piece, and silent for too long", a: does(time.Hour), b: does("one", told), with: hurried, whole: true, want: "a 0+0 untold unseen, b 7+5"},
		{name: "the client leaves a stream", a: does("one", "two", time.Hour), leave: time.Minute, want: "a 0+2 untold"},
		{name: "the client leaves at the first token", a: does("one", "two", told), stop: true, want: "a 0+1 untold"},
		{name: "the client leaves before the first token", a: does(time.Hour), leave: time.Minute, want: "a 0+0 untold"},
		{name: "the client leaves an answer in one piece", a: does(time.Hour), leave: time.Minute, whole: true, want: "a 0+0 untold unseen"},
		{name: "the client leaves a merged answer", a: does("one", "two", time.Hour), with: patient, leave: 50 * time.Second, whole: true, want: "a 0+2 untold"},
		{
			name: "the client leaves in a pause", a: does(fails(llmgateway.Overloaded)),
			with: func(r *Router) { r.Retries, r.TryInterval, r.chance = 5, time.Hour, func() float64 { return .5 } }, leave: time.Minute,
		},
		{name: "a hedge that was not needed", a: does("one", told), b: does("one", told), with: hedged, want: "a 7+5"},
		{name: "the first is outrun", a: does(time.Hour), b: does("one", told), with: hedged, want: "a 0+0 untold, b 7+5"},
		{name: "the second is outrun", a: does(2*time.Second, "one", told), b: does(time.Hour), with: hedged, want: "b 0+0 untold, a 7+5"},
		{name: "both hedges fail", a: does(2*time.Second, "~role", errBoom), b: does(2*time.Second, fails(llmgateway.Denied)), with: hedged, want: "a 0+0 untold"},
		{name: "outrun, in one piece", a: does(time.Hour), b: does("one", told), with: hedged, whole: true, want: "a 0+0 untold, b 7+5"},
		{name: "the client leaves two", a: does(time.Hour), b: does(time.Hour), with: hedged, leave: time.Minute, want: "a 0+0 untold, b 0+0 untold"},
		{name: "finished by another", a: does("one", "two", errBoom), b: does("onetwo", "three", told), with: resumed, want: "a 0+2 untold, b 7+5"},
		{name: "nobody could finish it", a: does("one", "two", errBoom), b: does("other", "words"), with: resumed, want: "a 0+2 untold, b 0+1 untold"},
		{name: "the client leaves while it is finished", a: does("one", errBoom), b: does("one", time.Hour), with: resumed, leave: time.Minute, want: "a 0+1 untold, b 0+1 untold"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &Router{Retries: -1, Targets: []*Target{named("a", test.a)}}
				if test.b != nil {
					r.Targets = append(r.Targets, named("b", test.b))
				}
				if test.with != nil {
					test.with(r)
				}
				req := chat("m")
				req.Stream, req.ClientStream = !test.whole, !test.whole
				lines := bill(t.Context(), r, req, test.leave, test.stop)
				if strings.HasPrefix(test.name, "the client leaves two") {
					slices.Sort(lines) // they end at the same time
				}
				if got := strings.Join(lines, ", "); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestWhatIsSharedIsAccountedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := llmgateway.Usage{PromptTokens: 7, CompletionTokens: 5, TotalTokens: 12}
		store, err := cache.NewMemory(1<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		a := named("a", does(time.Minute, "one", time.Minute, finish, told))
		a.Cache = &cache.Cache{Store: store, Policy: cache.Policy{TTL: time.Hour, MaxAnswerBytes: 1 << 20}}
		r := &Router{Targets: []*Target{a}}
		bills := make([][]string, 4)
		ask := func(i int, leave time.Duration) chan struct{} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				bills[i] = bill(t.Context(), r, chat("m"), leave, false)
			}()
			return done
		}
		first := ask(0, 90*time.Second) // it is made for this one, which leaves
		time.Sleep(time.Second)
		second := ask(1, 0)              // its heir
		third := ask(2, 100*time.Second) // leaves, too
		<-first
		<-second
		<-third
		<-ask(3, 0) // it is there
		for i, want := range []string{"a 0+1 untold", "a 7+5", "", ""} {
			if i == 1 && strings.Join(bills[2], ", ") == "a 0+1 untold" { // the third inherited it, and left
				bills[2] = nil
			}
			if got := strings.Join(bills[i], ", "); got != want {
				t.Errorf("request %d: got %q, want %q", i, got, want)
			}
		}
	})
}
