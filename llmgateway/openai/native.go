package openai

import (
	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// native returns the event for what a server said in the words of another API: Anthropic's Messages, or OpenAI's Responses.
func (in *inspector) native(data []byte, whole bool) (event llmgateway.Event, err error) {
	if err := checkObject(data); err != nil {
		return event, &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider sent a malformed answer", Err: err}
	}
	answer := gjson.ParseBytes(data)
	kind := answer.Get("type").Str
	event = llmgateway.Event{Data: data, Native: true, Whole: whole}
	switch {
	case kind == "error":
		return llmgateway.Event{}, streamError(data, in.redact)
	case whole && in.operation == llmgateway.Messages:
		in.message(&event, answer, answer.Get("stop_reason"))
	case whole:
		err = in.response(&event, answer)
	case in.operation == llmgateway.Messages:
		in.messageEvent(&event, kind, answer)
	case answer.Get("response").IsObject() && kind != "response.created" && kind != "response.in_progress" && kind != "response.queued":
		err = in.response(&event, answer.Get("response"))
		in.finished++
	}
	if err != nil {
		return llmgateway.Event{}, err
	}
	begins := announces(kind, answer)
	in.carried = in.carried || !begins
	event.Carries, event.Empty = in.carried, begins && !whole
	return event, nil
}

// announces reports whether an event says that something comes, and nothing of it. What a call is for is something.
func announces(kind string, event gjson.Result) bool {
	switch kind {
	case "ping", "message_start", "response.created", "response.in_progress", "response.queued", "response.content_part.added",
		"response.reasoning_summary_part.added":
		return true
	case "content_block_start":
		block := event.Get("content_block")
		return (block.Get("type").Str == "text" || block.Get("type").Str == "thinking") && block.Get("text").Str == "" && block.Get("thinking").Str == ""
	case "response.output_item.added":
		item := event.Get("item.type").Str
		return item == "message" || item == "reasoning"
	default:
		return false
	}
}

// messageEvent takes in an event of a message.
func (in *inspector) messageEvent(event *llmgateway.Event, kind string, answer gjson.Result) {
	switch kind {
	case "message_start":
		var start llmgateway.Event
		in.message(&start, answer.Get("message"), gjson.Result{})
		in.prompt = *start.Usage
	case "message_delta":
		in.message(event, answer, answer.Get("delta.stop_reason"))
	case "message_stop":
		in.finished++
	}
}

// message takes in why a message ended and what it took. Anthropic does not count as input what a cache held.
func (in *inspector) message(event *llmgateway.Event, answer, reason gjson.Result) {
	usage := answer.Get("usage")
	cached := int(usage.Get("cache_read_input_tokens").Int())
	prompt := int(usage.Get("input_tokens").Int()) + int(usage.Get("cache_creation_input_tokens").Int()) + cached
	if prompt == 0 { // it was told at the beginning
		prompt, cached = in.prompt.PromptTokens, in.prompt.CachedTokens
	}
	completion := int(usage.Get("output_tokens").Int())
	event.Usage = &llmgateway.Usage{
		PromptTokens: prompt, CompletionTokens: completion, TotalTokens: prompt + completion, CachedTokens: cached,
		Cost: readCost(usage),
	}
	switch reason.Str {
	case "":
	case "max_tokens", "model_context_window_exceeded":
		event.FinishReason = "length"
	case "tool_use":
		event.FinishReason = "tool_calls"
	case "refusal":
		event.FinishReason = "content_filter"
	default:
		event.FinishReason = "stop"
	}
}

// response takes in how a response ended and what it took.
func (in *inspector) response(event *llmgateway.Event, response gjson.Result) error {
	if failure := response.Get("error"); failure.IsObject() {
		return streamError([]byte(`{"error":`+failure.Raw+`}`), in.redact)
	}
	event.FinishReason = "stop"
	if response.Get("status").Str == "incomplete" {
		event.FinishReason = "length"
	}
	if usage := response.Get("usage"); usage.IsObject() {
		event.Usage = &llmgateway.Usage{
			PromptTokens:     int(usage.Get("input_tokens").Int()),
			CompletionTokens: int(usage.Get("output_tokens").Int()),
			TotalTokens:      int(usage.Get("total_tokens").Int()),
			CachedTokens:     int(usage.Get("input_tokens_details.cached_tokens").Int()),
			ReasoningTokens:  int(usage.Get("output_tokens_details.reasoning_tokens").Int()),
			Cost:             readCost(usage),
		}
	}
	return nil
}
