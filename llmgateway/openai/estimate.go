package openai

import (
	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

const (
	// bytesPerToken is what most tokenizers make of English; other languages and code take more tokens.
	bytesPerToken = 4
	// tokensPerMessage is what a chat template adds to each message.
	tokensPerMessage = 4
	// tokensPerImage is what a screenshot comes to with most models.
	tokensPerImage = 1000
	// usualAnswer is how many tokens an answer is taken for whose length nobody bounds.
	usualAnswer = 1024
	// maxEstimate keeps what clients write from overflowing.
	maxEstimate = 1 << 30
)

// EstimateTokens guesses how many tokens a request will take, before anybody has counted: its prompt by the length of its
// texts, its answers by the most that the client allows, or 1024 for each if it says nothing.
func EstimateTokens(r *llmgateway.Request) (prompt, completion int) {
	switch r.Operation {
	case llmgateway.Chat:
		prompt = chatTokens(r)
	case llmgateway.Completion:
		prompt = tokensOf(r, "prompt")
	case llmgateway.Embeddings:
		return tokensOf(r, "input"), 0
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

// chatTokens guesses the tokens of messages and of the tools that are offered. Images count by their number.
func chatTokens(r *llmgateway.Request) int {
	p := prompt{counting: true, all: true}
	if m, ok := r.Lookup("messages"); ok {
		p.json = r.Raw(m)
		p.messages()
	}
	if m, ok := r.Lookup("tools"); ok {
		p.seen.bytes += m.End - m.Value
	}
	return p.seen.bytes/bytesPerToken + p.count*tokensPerMessage + p.images*tokensPerImage
}

// tokensOf guesses the tokens of a member that is a text, a list of tokens, or a list of such.
func tokensOf(r *llmgateway.Request, name string) int {
	m, ok := r.Lookup(name)
	if !ok {
		return 0
	}
	return tokensIn(gjson.ParseBytes(r.Raw(m)), 0)
}

func tokensIn(value gjson.Result, depth int) (n int) {
	switch {
	case value.Type == gjson.String:
		return len(value.Raw)/bytesPerToken + 1
	case value.Type == gjson.Number:
		return 1
	case value.IsArray() && depth < 3:
		value.ForEach(func(_, element gjson.Result) bool {
			n += tokensIn(element, depth+1)
			return true
		})
	}
	return n
}
