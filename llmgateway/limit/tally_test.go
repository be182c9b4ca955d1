package limit

import (
	"context"
	"errors"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

func TestTallyOfHowARequestEnds(t *testing.T) {
	gone := llmgateway.AsError(context.Canceled)
	cost := 0.25
	answering := func(t *Tally) {
		t.Answering(llmgateway.Attempt{Price: llmgateway.Price{Prompt: 1, Completion: 2}})
	}
	chunk := func(data string) func(*Tally) {
		return func(t *Tally) { t.Observe(&llmgateway.Event{Data: []byte(data), Carries: true}) }
	}
	usage := func(u llmgateway.Usage) func(*Tally) {
		return func(t *Tally) { t.Observe(&llmgateway.Event{Data: []byte("{}"), Usage: &u}) }
	}
	whole := func(data string) func(*Tally) {
		return func(t *Tally) { t.Observe(&llmgateway.Event{Data: []byte(data), Carries: true, Whole: true}) }
	}
	cached := func(result llmgateway.CacheResult) func(*Tally) {
		return func(t *Tally) { t.Cached(llmgateway.CacheUse{Result: result}) }
	}
	counts := usage(llmgateway.Usage{PromptTokens: 7, CompletionTokens: 5, TotalTokens: 12})
	const prompt, most = 12, 40 // tokens, as estimated
	for _, test := range []struct {
		name   string
		stream bool
		steps  []func(*Tally)
		err    error
		want   Use
	}{
		{"the provider counts", true, []func(*Tally){answering, chunk("{a}"), counts}, nil, Use{12, 17_000}},
		{"the provider leaves out the total", true, []func(*Tally){answering, usage(llmgateway.Usage{PromptTokens: 7, CompletionTokens: 5})}, nil, Use{12, 17_000}},
		{"the provider says what it cost", true, []func(*Tally){answering, usage(llmgateway.Usage{TotalTokens: 12, Cost: &cost})}, nil, Use{12, USD / 4}},
		{"the provider counts nothing", true, []func(*Tally){answering, chunk("{a}"), chunk("{b}"), usage(llmgateway.Usage{})}, nil, Use{prompt + 2, (prompt + 2*2) * 1000}},
		{"the client leaves a stream", true, []func(*Tally){answering, chunk("{a}"), chunk("{b}"), chunk("{c}")}, gone, Use{prompt + 3, (prompt + 3*2) * 1000}},
		{"the client leaves after the count", true, []func(*Tally){answering, chunk("{a}"), counts}, gone, Use{12, 17_000}},
		{"the answer breaks", true, []func(*Tally){answering, chunk("{}"), chunk("{12345678901234567890}")}, errors.New("broken"), Use{prompt + 5, (prompt + 5*2) * 1000}},
		{"the client leaves before the answer", true, nil, gone, Use{prompt, prompt * 3000}},
		{"the client of a whole answer leaves", false, nil, gone, Use{prompt + most, (prompt*3 + most*4) * 1000}},
		{"nobody answers", true, nil, errors.New("all failed"), Use{}},
		{"a whole answer without a count", false, []func(*Tally){answering, whole(`{"choices":"twenty-nine bytes"}`)}, nil, Use{prompt + 7, (prompt + 7*2) * 1000}},
		{"from the cache", true, []func(*Tally){cached(llmgateway.CacheHit), answering, counts}, nil, Use{}},
		{"made for somebody else", true, []func(*Tally){cached(llmgateway.CacheShared), answering, counts}, nil, Use{}},
		{"made for somebody who left", true, []func(*Tally){cached(llmgateway.CacheShared), answering, (*Tally).Inherited, counts}, nil, Use{12, 17_000}},
		{"not in the cache", true, []func(*Tally){cached(llmgateway.CacheMiss), answering, counts}, nil, Use{12, 17_000}},
		{"shared in vain, then made", true, []func(*Tally){cached(llmgateway.CacheShared), cached(llmgateway.CacheMiss), answering, counts}, nil, Use{12, 17_000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := llmgateway.NewBody([]byte(`{"model":"m","max_tokens":40,"messages":[{"role":"user","content":"12345678"}]}`))
			req, err := openai.Read(llmgateway.Chat, body)
			if err != nil {
				t.Fatal(err)
			}
			req.ClientStream = test.stream
			tally := NewTally(req, llmgateway.Price{Prompt: 3, Completion: 4})
			if got, want := tally.Estimate(), (Use{prompt + most, (prompt*3 + most*4) * 1000}); got != want {
				t.Fatalf("the estimate is %+v, want %+v", got, want)
			}
			for _, step := range test.steps {
				step(tally)
			}
			if got := tally.Use(test.err); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
