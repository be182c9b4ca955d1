package openai

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Split turns a whole answer into a stream's chunks, so that it can serve a client that asked for one: the opposite of
// [Merge]. For each choice there is a chunk with all it says and one with its finish reason; the usage is in a last one.
// Errors pass.
func Split(answers iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for answer, err := range answers {
			if err != nil {
				yield(llmgateway.Event{}, err)
				return
			}
			chunks, err := split(answer)
			if err != nil {
				yield(llmgateway.Event{}, err)
				return
			}
			for i, chunk := range chunks {
				chunk.More = i+1 < len(chunks)
				if !yield(chunk, nil) {
					return
				}
			}
		}
	}
}

// split returns the chunks of one answer.
func split(answer llmgateway.Event) (chunks []llmgateway.Event, err error) {
	whole, err := decode(answer.Data)
	if err != nil {
		return nil, fmt.Errorf("splitting an answer: %w", err)
	}
	choices, _ := whole["choices"].([]any)
	usage := whole["usage"]
	delete(whole, "usage")
	if object, ok := whole["object"].(string); ok && strings.HasPrefix(object, "chat.") {
		whole["object"] = object + ".chunk"
	}
	add := func(event llmgateway.Event, choices ...any) {
		if err != nil {
			return
		}
		whole["choices"] = append([]any{}, choices...)
		event.Data, err = marshal(whole)
		chunks = append(chunks, event)
	}
	for _, c := range choices {
		choice, ok := c.(map[string]any)
		if !ok {
			return nil, &llmgateway.Error{Kind: llmgateway.Upstream, Message: "splitting an answer: a choice is no object"}
		}
		last := map[string]any{"index": choice["index"], "finish_reason": choice["finish_reason"], "logprobs": nil}
		reason, _ := choice["finish_reason"].(string)
		choice["finish_reason"] = nil
		if message, ok := choice["message"].(map[string]any); ok {
			choice["delta"], last["delta"] = message, map[string]any{}
			delete(choice, "message")
			numberCalls(message)
		} else {
			last["text"] = ""
		}
		add(llmgateway.Event{Carries: true}, choice)
		add(llmgateway.Event{Carries: true, FinishReason: reason}, last)
	}
	if usage != nil {
		whole["usage"] = usage
		add(llmgateway.Event{Usage: answer.Usage})
	}
	return chunks, err
}

// numberCalls gives tool calls the index that they have in chunks.
func numberCalls(message map[string]any) {
	calls, _ := message["tool_calls"].([]any)
	for i, call := range calls {
		if call, ok := call.(map[string]any); ok {
			call["index"] = json.Number(fmt.Sprint(i))
		}
	}
}
