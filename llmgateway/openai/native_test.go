package openai

import (
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// TestNativeAnswersAreUnderstood reads the last event of each, after those before it.
func TestNativeAnswersAreUnderstood(t *testing.T) {
	tests := []struct {
		name      string
		operation llmgateway.Operation
		whole     bool
		events    []string
		carries   bool
		finish    string
		usage     llmgateway.Usage
		kind      llmgateway.Kind // of the error
	}{
		{
			name: "a message begins", operation: llmgateway.Messages,
			events: []string{`{"type":"message_start","message":{"usage":{"input_tokens":3}}}`},
		},
		{
			name: "a ping says nothing", operation: llmgateway.Messages,
			events: []string{`{"type":"message_start","message":{"usage":{"input_tokens":3}}}`, `{"type":"ping"}`},
		},
		{
			name: "a block begins", operation: llmgateway.Messages,
			events: []string{`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`},
		},
		{
			name: "a message says something", operation: llmgateway.Messages,
			events: []string{
				`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}`,
				`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a"}}`,
			}, carries: true,
		},
		{
			name: "a call begins", operation: llmgateway.Messages,
			events: []string{`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}}`}, carries: true,
		},
		{
			name: "an item begins", operation: llmgateway.Responses,
			events: []string{
				`{"type":"response.output_item.added","item":{"type":"message","content":[]}}`,
				`{"type":"response.content_part.added","part":{"type":"output_text","text":""}}`,
			},
		},
		{
			name: "a response calls", operation: llmgateway.Responses,
			events: []string{`{"type":"response.output_item.added","item":{"type":"function_call","name":"f"}}`}, carries: true,
		},
		{
			name: "a message ends", operation: llmgateway.Messages, carries: true, finish: "tool_calls",
			events: []string{
				`{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_read_input_tokens":5,"cache_creation_input_tokens":2}}}`,
				`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":4}}`,
			},
			usage: llmgateway.Usage{PromptTokens: 10, CompletionTokens: 4, TotalTokens: 14, CachedTokens: 5},
		},
		{
			name: "a whole message", operation: llmgateway.Messages, whole: true, carries: true, finish: "length",
			events: []string{`{"type":"message","stop_reason":"max_tokens","usage":{"input_tokens":3,"output_tokens":4}}`},
			usage:  llmgateway.Usage{PromptTokens: 3, CompletionTokens: 4, TotalTokens: 7},
		},
		{
			name: "a message breaks", operation: llmgateway.Messages, kind: llmgateway.Upstream,
			events: []string{`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`},
		},
		{
			name: "a response begins", operation: llmgateway.Responses,
			events: []string{`{"type":"response.created","response":{"status":"in_progress"}}`},
		},
		{
			name: "a response ends", operation: llmgateway.Responses, carries: true, finish: "stop",
			events: []string{`{"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":7}}}`},
			usage:  llmgateway.Usage{PromptTokens: 3, CompletionTokens: 4, TotalTokens: 7, CachedTokens: 1, ReasoningTokens: 2},
		},
		{
			name: "a whole response is cut", operation: llmgateway.Responses, whole: true, carries: true, finish: "length",
			events: []string{`{"object":"response","status":"incomplete","error":null}`},
		},
		{
			name: "a response fails", operation: llmgateway.Responses, kind: llmgateway.RateLimited,
			events: []string{`{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slow down"}}}`},
		},
		{
			name: "no JSON", operation: llmgateway.Responses, kind: llmgateway.Upstream, events: []string{`{"type"`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := inspector{operation: test.operation, redact: func(s string) string { return s }}
			var event llmgateway.Event
			var err error
			for _, data := range test.events {
				event, err = in.inspect([]byte(data), test.whole)
			}
			if test.kind != "" {
				if err == nil || llmgateway.AsError(err).Kind != test.kind {
					t.Errorf("got error %v, want %s", err, test.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if event.Carries != test.carries || event.FinishReason != test.finish || !event.Native || event.Whole != test.whole {
				t.Errorf("got %+v", event)
			}
			var usage llmgateway.Usage
			if event.Usage != nil {
				usage = *event.Usage
			}
			if usage != test.usage {
				t.Errorf("got usage %+v, want %+v", usage, test.usage)
			}
		})
	}
}
