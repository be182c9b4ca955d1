// Package echo is a Provider that answers with what it was asked. It needs no model and no network, and the same request
// always gets the same answer, which makes it fit for trying a configuration and for tests.
package echo

import (
	"context"
	"encoding/json"
	"iter"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Provider repeats the text of the last message, or of the prompt, a word at a time when streaming. An embedding is the
// text's length. The zero value is ready to use.
type Provider struct{}

// created is the answers' time stamp: the same request gets the same answer.
const created = 1735689600

// Generate implements llmgateway.Provider.
func (Provider) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		text := lastText(req)
		words := strings.SplitAfter(text, " ")
		usage := &llmgateway.Usage{PromptTokens: len(words), CompletionTokens: len(words), TotalTokens: 2 * len(words)}
		switch {
		case req.Operation == llmgateway.Embeddings:
			usage.CompletionTokens, usage.TotalTokens = 0, len(words)
			yield(whole(embedding(req.Model, text, usage), usage, ""), nil)
		case !req.Stream:
			yield(whole(answer(req, text, usage), usage, "stop"), nil)
		default:
			for i, word := range words {
				event := llmgateway.Event{Data: chunk(req, word, i == 0, nil), Carries: word != "", More: true}
				if ctx.Err() != nil {
					yield(llmgateway.Event{}, context.Cause(ctx))
					return
				}
				if !yield(event, nil) {
					return
				}
			}
			yield(llmgateway.Event{Data: chunk(req, "", false, usage), Carries: true, FinishReason: "stop", Usage: usage}, nil)
		}
	}
}

func whole(data []byte, usage *llmgateway.Usage, finish string) llmgateway.Event {
	return llmgateway.Event{Data: data, Carries: true, Whole: true, Usage: usage, FinishReason: finish}
}

// lastText returns the text parts of the last message, or the prompt or input.
func lastText(req *llmgateway.Request) string {
	body := gjson.ParseBytes(req.Body.Bytes)
	last := body.Get("prompt")
	switch req.Operation {
	case llmgateway.Embeddings:
		last = body.Get("input")
	case llmgateway.Chat:
		messages := body.Get("messages").Array()
		if len(messages) == 0 {
			return ""
		}
		last = messages[len(messages)-1].Get("content")
	case llmgateway.Completion, llmgateway.Messages, llmgateway.Responses:
	}
	if !last.IsArray() {
		return last.String()
	}
	var texts []string
	for _, part := range last.Array() {
		if part.Type == gjson.String {
			texts = append(texts, part.Str)
		} else if text := part.Get("text"); text.Exists() {
			texts = append(texts, text.String())
		}
	}
	return strings.Join(texts, " ")
}

type object = map[string]any

func answer(req *llmgateway.Request, text string, usage *llmgateway.Usage) []byte {
	choice := object{"index": 0, "finish_reason": "stop", "message": object{"role": "assistant", "content": text}}
	kind := "chat.completion"
	if req.Operation == llmgateway.Completion {
		choice = object{"index": 0, "finish_reason": "stop", "text": text}
		kind = "text_completion"
	}
	return encode(object{
		"id": "echo", "object": kind, "created": created, "model": req.Model,
		"choices": []any{choice}, "usage": usage,
	})
}

// chunk returns one piece of a stream: the last one if usage is given.
func chunk(req *llmgateway.Request, word string, first bool, usage *llmgateway.Usage) []byte {
	var finish any
	if usage != nil {
		finish = "stop"
	}
	delta := object{}
	if first {
		delta["role"] = "assistant"
	}
	if word != "" {
		delta["content"] = word
	}
	choice := object{"index": 0, "finish_reason": finish, "delta": delta}
	kind := "chat.completion.chunk"
	if req.Operation == llmgateway.Completion {
		choice = object{"index": 0, "finish_reason": finish, "text": word}
		kind = "text_completion"
	}
	o := object{"id": "echo", "object": kind, "created": created, "model": req.Model, "choices": []any{choice}}
	if usage != nil {
		o["usage"] = usage
	}
	return encode(o)
}

func embedding(model, text string, usage *llmgateway.Usage) []byte {
	return encode(object{
		"object": "list", "model": model, "usage": usage,
		"data": []any{object{"object": "embedding", "index": 0, "embedding": []float64{float64(len(text))}}},
	})
}

func encode(o object) []byte {
	data, err := json.Marshal(o)
	if err != nil { // only values that always marshal are in there
		panic(err)
	}
	return data
}
