package route

import (
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestAttemptsTellTheirTargetsPrices(t *testing.T) {
	var tried, answered llmgateway.Price
	ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{
		Tried:     func(a llmgateway.Attempt) { tried = a.Price },
		Answering: func(a llmgateway.Attempt) { answered = a.Price },
	})
	r := &Router{Retries: -1, Targets: []*Target{
		{Name: "broken", Provider: does(fails(llmgateway.Upstream)), Price: llmgateway.Price{Prompt: 1}},
		{Name: "good", Provider: does("hello"), Price: llmgateway.Price{Prompt: 2, Completion: 3}},
	}}
	for _, err := range r.Generate(ctx, chat("m")) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if tried != (llmgateway.Price{Prompt: 1}) || answered != (llmgateway.Price{Prompt: 2, Completion: 3}) {
		t.Errorf("tried at %v, answered at %v", tried, answered)
	}
}

func TestDearestPriceIsOfAllThatMayAnswer(t *testing.T) {
	priced := func(name string, prompt, completion float64) *Target {
		return &Target{Name: name, Price: llmgateway.Price{Prompt: prompt, Completion: completion, Cached: 0.1}}
	}
	table := &Table{Models: map[string]*Router{
		"m": {Targets: []*Target{priced("a", 1, 9), priced("b", 2, 3)}},
		"n": {Targets: []*Target{priced("b", 7, 1)}},
	}, Providers: []string{"a", "b"}}
	for members, want := range map[string]llmgateway.Price{
		plain:                          {Prompt: 2, Completion: 9, Cached: 2},
		`"provider":"a",` + plain:      {Prompt: 1, Completion: 9, Cached: 1},
		`"models":["m","n"],` + plain:  {Prompt: 7, Completion: 9, Cached: 7},
		`"models":["x","n"],` + plain:  {Prompt: 7, Completion: 9, Cached: 7},
		`"models":"nonsense",` + plain: {Prompt: 2, Completion: 9, Cached: 2},
		`"provider":"none",` + plain:   {},
	} {
		if got := table.Dearest(needing(t, llmgateway.Chat, members)); got != want {
			t.Errorf("%s: got %v, want %v", members, got, want)
		}
	}
}
