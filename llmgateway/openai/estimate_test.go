package openai

import (
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestTokensAreEstimatedBeforeAnybodyCounts(t *testing.T) {
	words := strings.Repeat("word ", 80) // 400 bytes
	picture := `{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("A", 1<<20) + `"}}`
	for _, test := range []struct {
		name               string
		op                 llmgateway.Operation
		body               string
		prompt, completion int
	}{
		{"a message", llmgateway.Chat, `{"model":"m","messages":[{"role":"user","content":"` + words + `"}]}`, 100, 1024},
		{"what was said before", llmgateway.Chat, `{"model":"m","messages":[{"role":"assistant","content":"` + words + `"},{"role":"user","content":""}]}`, 104, 1024},
		{"a bounded answer", llmgateway.Chat, `{"model":"m","max_tokens":50,"messages":[]}`, 3, 50},
		{"the newer word for it", llmgateway.Chat, `{"model":"m","max_tokens":50,"max_completion_tokens":60,"messages":[]}`, 3, 60},
		{"an unbounded answer", llmgateway.Chat, `{"model":"m","max_tokens":-1,"messages":[]}`, 3, 1024},
		{"several answers", llmgateway.Chat, `{"model":"m","n":3,"max_tokens":50,"messages":[]}`, 3, 150},
		{"more than anybody can count", llmgateway.Chat, `{"model":"m","n":9e18,"max_tokens":9e99,"messages":[]}`, 3, 1 << 30},
		{"an image", llmgateway.Chat, `{"model":"m","messages":[{"role":"user","content":[` + picture + `]}]}`, 772, 1024},
		{"tools", llmgateway.Chat, `{"model":"m","tools":["` + words[:396] + `"],"messages":[]}`, 98, 1024},
		{"a text to go on with", llmgateway.Completion, `{"model":"m","max_tokens":5,"prompt":"` + words + `"}`, 93, 5},
		{"several texts", llmgateway.Completion, `{"model":"m","max_tokens":5,"prompt":["` + words + `","` + words + `"]}`, 186, 10},
		{"tokens", llmgateway.Completion, `{"model":"m","max_tokens":5,"prompt":[1,2,3]}`, 3, 5},
		{"embeddings", llmgateway.Embeddings, `{"model":"m","input":["` + words + `",""]}`, 93, 0},
		{"nothing", llmgateway.Embeddings, `{"model":"m"}`, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			req, err := Read(test.op, llmgateway.NewBody([]byte(test.body)))
			if err != nil {
				t.Fatal(err)
			}
			if prompt, completion := EstimateTokens(req); prompt != test.prompt || completion != test.completion {
				t.Errorf("got %d and %d, want %d and %d", prompt, completion, test.prompt, test.completion)
			}
		})
	}
}
