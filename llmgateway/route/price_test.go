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
