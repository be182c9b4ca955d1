package limit

import (
	"math"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

func TestTallyAddsUpWhatAttemptsUsed(t *testing.T) {
	cost := 0.25
	cheap, dear := llmgateway.Price{Prompt: 1, Completion: 2}, llmgateway.Price{Prompt: 3, Completion: 4}
	spent := func(price llmgateway.Price, told bool, used llmgateway.Usage) llmgateway.Spending {
		return llmgateway.Spending{Attempt: llmgateway.Attempt{Price: price}, Told: told, Used: used}
	}
	counts := llmgateway.Usage{PromptTokens: 7, CompletionTokens: 5, TotalTokens: 12}
	const prompt, most = 12, 40 // tokens, as estimated
	for _, test := range []struct {
		name  string
		spent []llmgateway.Spending
		want  Use
	}{
		{"nobody was asked", nil, Use{}},
		{"the provider counts", []llmgateway.Spending{spent(cheap, true, counts)}, Use{12, 17_000}},
		{"the provider leaves out the total", []llmgateway.Spending{spent(cheap, true, llmgateway.Usage{PromptTokens: 7, CompletionTokens: 5})}, Use{12, 17_000}},
		{"the provider says what it cost", []llmgateway.Spending{spent(cheap, true, llmgateway.Usage{TotalTokens: 12, Cost: &cost})}, Use{12, USD / 4}},
		{"the answer came that far", []llmgateway.Spending{spent(cheap, false, llmgateway.Usage{CompletionTokens: 2})}, Use{prompt + 2, (prompt + 2*2) * 1000}},
		{"it was given up while it was silent", []llmgateway.Spending{spent(cheap, false, llmgateway.Usage{})}, Use{prompt, prompt * 1000}},
		{
			"it was given up, and would have come in one piece",
			[]llmgateway.Spending{{Attempt: llmgateway.Attempt{Price: cheap}, Unseen: true}},
			Use{prompt + most, (prompt + most*2) * 1000},
		},
		{
			"what no provider can have used",
			[]llmgateway.Spending{spent(cheap, true, llmgateway.Usage{PromptTokens: math.MaxInt, CompletionTokens: 5, TotalTokens: math.MaxInt})},
			Use{mostTokens + 5, 1e6 * USD},
		},
		{
			"less than nothing, beside something",
			[]llmgateway.Spending{spent(cheap, true, llmgateway.Usage{PromptTokens: -1e6, CompletionTokens: -5}), spent(cheap, true, counts)},
			Use{12, 17_000},
		},
		{
			"two targets, each at its price",
			[]llmgateway.Spending{spent(cheap, false, llmgateway.Usage{CompletionTokens: 10}), spent(dear, true, counts)},
			Use{prompt + 10 + 12, (prompt+10*2)*1000 + (7*3+5*4)*1000},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := llmgateway.NewBody([]byte(`{"model":"m","max_tokens":40,"messages":[{"role":"user","content":"12345678"}]}`))
			req, err := openai.Read(llmgateway.Chat, body)
			if err != nil {
				t.Fatal(err)
			}
			tally := NewTally(req, dear)
			if got, want := tally.Estimate(), (Use{prompt + most, (prompt*3 + most*4) * 1000}); got != want {
				t.Fatalf("the estimate is %+v, want %+v", got, want)
			}
			for _, s := range test.spent {
				tally.Spent(s)
			}
			if got := tally.Use(); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if priced := tally.Priced(); priced != (len(test.spent) > 0) {
				t.Errorf("priced: %v", priced)
			}
		})
	}
}

func TestTallyKnowsThePriceOfAnAnswerThatCostsNothing(t *testing.T) {
	tally := NewTally(new(llmgateway.Request), llmgateway.Price{})
	tally.Answering(llmgateway.Attempt{})
	if tally.Priced() {
		t.Error("the price of a target without one is known")
	}
	tally.Answering(llmgateway.Attempt{Price: llmgateway.Price{Prompt: 1}})
	if !tally.Priced() || tally.Use() != (Use{}) {
		t.Errorf("an answer from the cache costs %+v", tally.Use())
	}
}
