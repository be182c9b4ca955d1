package route

import (
	"context"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// streamed returns a request for a stream as a client sends it.
func streamed(t *testing.T, members string) *llmgateway.Request {
	t.Helper()
	body := `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]` + members + `}`
	req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// heard is what a client got, and what was told of it.
type heard struct {
	text string
	err  *llmgateway.Error
	told []string
}

// listen asks for a stream and puts the text together.
func listen(ctx context.Context, p llmgateway.Provider, req *llmgateway.Request) (h heard) {
	hook := func(what string) func(llmgateway.Attempt) {
		return func(a llmgateway.Attempt) { h.told = append(h.told, what+" "+a.Provider) }
	}
	ctx = llmgateway.WithTrace(ctx, &llmgateway.Trace{
		Tried: hook("tried"), Answering: hook("answering"), Broke: hook("broke"), Resumed: hook("resumed"), Outrun: hook("outrun"),
	})
	for event, err := range p.Generate(ctx, req) {
		if err != nil {
			h.err = llmgateway.AsError(err)
			continue
		}
		if event.Whole {
			h.text += gjson.GetBytes(event.Data, "choices.0.message.content").Str
		}
		h.text += gjson.GetBytes(event.Data, "choices.0.delta.content").Str
	}
	return h
}

func (h heard) check(t *testing.T, text, told, err string) {
	t.Helper()
	if h.text != text {
		t.Errorf("got the text %q, want %q", h.text, text)
	}
	if got := strings.Join(h.told, ", "); got != told {
		t.Errorf("told %q, want %q", got, told)
	}
	if (err == "") != (h.err == nil) || h.err != nil && !strings.Contains(h.err.Message, err) {
		t.Errorf("got the error %v, want %q", h.err, err)
	}
}

// goesOn is a provider that is known to go on with an answer: asked from the start it does one thing, asked to go on another.
type goesOn struct {
	start, on *script
	asked     []llmgateway.Request
}

func (g *goesOn) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	g.asked = append(g.asked, *req)
	if len(req.Edits) > 0 {
		return g.on.Generate(ctx, req)
	}
	return g.start.Generate(ctx, req)
}

func (g *goesOn) ModelInfo() llmgateway.ModelInfo {
	return llmgateway.ModelInfo{Name: "on", Tools: true, Prefill: true}
}

func TestStreamThatBreaksIsFinishedByTheNextTarget(t *testing.T) {
	long := "one two three four five "
	tests := []struct {
		name            string
		targets         []llmgateway.Provider
		text, told, err string
	}{
		{
			"which says the same",
			[]llmgateway.Provider{does("one ", "two ", errBoom), does("o", "ne two thr", "ee", finish)},
			"one two three", "answering a, broke a, resumed b", "",
		},
		{
			"which says something else",
			[]llmgateway.Provider{does("one ", "two ", errBoom), does("1 ", "2 ", finish)},
			"one two ", "answering a, broke a, tried b", "boom",
		},
		{
			"of which the third says the same",
			[]llmgateway.Provider{does("one ", "two ", errBoom), does("1 ", "2 ", finish), does("one two three", finish)},
			"one two three", "answering a, broke a, tried b, resumed c", "",
		},
		{
			"where the second cannot be reached",
			[]llmgateway.Provider{does("one ", "two ", errBoom), does(fails(llmgateway.Upstream)), does("one two three", finish)},
			"one two three", "answering a, broke a, tried b, resumed c", "",
		},
		{
			"where the second breaks too",
			[]llmgateway.Provider{does("one ", errBoom), does("one two ", errBoom), does("one two ", "three", finish)},
			"one two three", "answering a, broke a, resumed b, broke b, resumed c", "",
		},
		{
			"which goes on",
			[]llmgateway.Provider{does(long, errBoom), &goesOn{start: does("1 "), on: does("~", "six ", "seven", finish)}},
			long + "six seven", "answering a, broke a, resumed b", "",
		},
		{
			"which says the same and need not go on",
			[]llmgateway.Provider{does("one ", errBoom), &goesOn{start: does("one two", finish), on: does("wrong")}},
			"one two", "answering a, broke a, resumed b", "",
		},
		{
			"which repeats instead of going on",
			[]llmgateway.Provider{does(long, errBoom), &goesOn{start: does("1 "), on: does("one two", " three four five six")}},
			long, "answering a, broke a, tried b", "it repeats what had been sent",
		},
		{
			"which refuses to go on, but not the third",
			[]llmgateway.Provider{
				does(long, errBoom), &goesOn{start: does("1 "), on: does(fails(llmgateway.InvalidRequest))},
				does(long, "six", finish),
			},
			long + "six", "answering a, broke a, tried b, resumed c", "",
		},
		{
			"but not half a tool call",
			[]llmgateway.Provider{
				does("one ", `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{"}}]}}]}`, errBoom),
				does("one ", finish),
			},
			"one ", "answering a", "the provider failed",
		},
		{
			"with a tool call of which nothing had come",
			[]llmgateway.Provider{
				does("one ", errBoom),
				does("one ", `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}`, finish),
			},
			"one ", "answering a, broke a, resumed b", "",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &Router{Retries: -1, Resume: true}
			for i, p := range test.targets {
				target := named(string(rune('a'+i)), p)
				r.Targets = append(r.Targets, target)
			}
			err := test.err
			if err == "boom" {
				err = "the provider failed; nobody could finish the answer; b: its answer is another"
			}
			listen(t.Context(), r, streamed(t, "")).check(t, test.text, test.told, err)
		})
	}
}

func TestStreamIsNotFinishedByOthersUnlessThatIsWanted(t *testing.T) {
	for _, test := range []struct {
		resume  bool
		members string
	}{{false, ""}, {true, `,"n":2`}, {true, `,"logprobs":true`}} {
		r := &Router{Targets: []*Target{named("a", does("one ", errBoom)), named("b", does("one ", "two", finish))}, Retries: -1, Resume: test.resume}
		listen(t.Context(), r, streamed(t, test.members)).check(t, "one ", "answering a", "the provider failed")
	}
}

func TestContinuationIsAskedForWithoutTheCache(t *testing.T) {
	on := &goesOn{start: does("1 "), on: does("two", finish)}
	r := &Router{Targets: []*Target{named("a", does("one ", errBoom)), named("b", on)}, Retries: -1, Resume: true}
	listen(t.Context(), r, streamed(t, "")).check(t, "one two", "answering a, broke a, resumed b", "")
	if len(on.asked) != 2 {
		t.Fatalf("asked %d times", len(on.asked))
	}
	got := on.asked[1]
	if got.Edits[0].Append != `{"role":"assistant","content":"one"}` || !got.Cache.NoCache || !got.Cache.NoStore || got.Model != "on" {
		t.Errorf("asked %+v", got)
	}
}

// The silence in the middle of a stream is noticed by its deadline, and a client that leaves meanwhile is not served.
func TestStreamThatStallsIsFinishedByTheNextTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := named("a", does("one ", time.Hour)), named("b", does(time.Second, "one ", time.Second, "two", finish))
		first.StreamIdleTimeout = 3 * time.Second
		r := &Router{Targets: []*Target{first, second}, Retries: -1, Resume: true}
		began := time.Now()
		listen(t.Context(), r, streamed(t, "")).check(t, "one two", "answering a, broke a, resumed b", "")
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		ctx, leave := context.WithTimeoutCause(t.Context(), 3500*time.Millisecond, context.Canceled)
		defer leave()
		h := listen(ctx, r, streamed(t, ""))
		if h.err == nil || h.err.Kind != llmgateway.Canceled {
			t.Errorf("got %v", h.err)
		}
	})
}
