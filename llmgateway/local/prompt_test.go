package local

import (
	"reflect"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestListOfOnePromptBecomesThePrompt(t *testing.T) {
	tests := []struct {
		name, prompt string
		want         []llmgateway.Edit
		refused      bool
	}{
		{name: "a string", prompt: `"[a]"`},
		{name: "one string", prompt: `[ "\u0061\"]" ]`, want: []llmgateway.Edit{{Name: "prompt", Value: `"\u0061\"]"`}}},
		{name: "two strings", prompt: `["a","b"]`, refused: true},
		{name: "tokens", prompt: `[1,2]`, refused: true},
		{name: "a list of tokens", prompt: `[[1,2]]`, refused: true},
		{name: "nothing", prompt: `[]`, refused: true},
		{name: "what is left to llama-server", prompt: `{"prompt_string":"a"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := withOnePrompt(ask(t, llmgateway.Completion, `{"model":"m","prompt":%s}`, tt.prompt))
			if tt.refused {
				if e := llmgateway.AsError(err); err == nil || e.Kind != llmgateway.Unsupported || e.Param != "prompt" {
					t.Errorf("got %v, want that it is not supported", err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got.Edits, tt.want) {
				t.Errorf("got %+v, %v, want %v", got, err, tt.want)
			}
		})
	}
}
