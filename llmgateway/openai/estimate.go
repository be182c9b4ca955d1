package openai

import (
	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

const (
	// usualAnswer is how many tokens an answer is taken for whose length nobody bounds.
	usualAnswer = 1024
	// maxEstimate keeps what clients write from overflowing.
	maxEstimate = 1 << 30
)

// EstimateTokens guesses how many tokens a request will take, before anybody has counted: its prompt as [PromptTokens] does, its
// answers by the most that the client allows, or 1024 for each if it says nothing.
func EstimateTokens(r *llmgateway.Request) (prompt, completion int) {
	prompt = PromptTokens(r)
	if r.Operation == llmgateway.Embeddings {
		return prompt, 0
	}
	completion = usualAnswer
	for _, name := range []string{"max_tokens", "max_completion_tokens"} {
		if m, ok := r.Lookup(name); ok {
			if most := gjson.ParseBytes(r.Raw(m)); most.Type == gjson.Number && most.Num >= 1 {
				completion = int(min(most.Num, maxEstimate))
			}
		}
	}
	return prompt, min(completion*min(answers(r), maxEstimate), maxEstimate)
}
