package openai

import (
	"bytes"
	"cmp"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// inspector reads from chunks and answers what the gateway must know of them. It keeps its scratch space between events.
type inspector struct {
	operation llmgateway.Operation
	redact    func(string) string // takes our keys out of what a provider says
	members   []llmgateway.Member
	// last is the last chunk that carried a text and nothing else that inspect looks for.
	last template
	// carried is set with the first event that carries something; from then on all do.
	carried bool
	// finished counts the finish reasons. A request for several answers gets one for each.
	finished int
	// prompt is what another API said of the prompt at the beginning.
	prompt llmgateway.Usage
	// timed is what llama.cpp's timings add up to.
	timed llmgateway.Usage
}

// inspect returns the event for data, which must be valid JSON. An event that is an error object is returned as err.
func (in *inspector) inspect(data []byte, whole bool) (event llmgateway.Event, err error) {
	if in.operation.Foreign() {
		return in.native(data, whole)
	}
	if text, ok := in.last.text(data); ok && len(text) > 0 {
		return llmgateway.Event{Data: data, Carries: true}, nil
	}
	if in.members == nil {
		in.members = make([]llmgateway.Member, 0, 12) // what most chunks have, in one allocation
	}
	in.members, err = scanObject(data, in.members[:0], nil)
	if err != nil {
		return event, &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider sent a malformed answer", Err: err}
	}
	event.Data = data
	hasAnswer, brings := false, false
	var timings []byte
	for _, m := range in.members {
		value := data[m.Value:m.End]
		switch m.Name {
		case "error":
			if value[0] == '{' || value[0] == '"' {
				return event, streamError(data, in.redact)
			}
		case "object":
			if string(value) == `"error"` { // vLLM's and SGLang's, which have no member of that name
				return event, streamError(data, in.redact)
			}
		case "usage":
			if value[0] == '{' {
				event.Usage = readUsage(value)
			}
		case "timings":
			timings = value
		case "choices":
			hasAnswer = hasAnswer || filled(value)
			for reason, rest := findString(value, `"finish_reason"`); reason != ""; reason, rest = findString(rest, `"finish_reason"`) {
				event.FinishReason = cmp.Or(event.FinishReason, reason)
				in.finished++
				if reason == "error" { // OpenRouter's word for an answer that its provider broke off
					return event, streamError(choiceError(value), in.redact)
				}
			}
			brings = brings || event.FinishReason != "" || !whole && carries(value)
		case "data":
			hasAnswer = hasAnswer || in.operation == llmgateway.Embeddings && filled(value)
		}
	}
	in.carried = in.carried || brings
	if whole && !hasAnswer {
		return event, nothingInIt()
	}
	if timings != nil && event.Usage == nil && event.FinishReason != "" {
		event.Usage = in.addTimings(timings)
	}
	if in.carried && event.FinishReason == "" && event.Usage == nil {
		in.last.learn(data)
	}
	event.Carries, event.Whole, event.Empty = in.carried || whole, whole, !brings && !whole
	return event, nil
}

// choiceError returns an object with the error that a choice tells, or an empty one: nothing of the answer goes into logs.
func choiceError(choices []byte) []byte {
	object := []byte("{}")
	gjson.ParseBytes(choices).ForEach(func(_, choice gjson.Result) bool {
		if told := choice.Get("error"); told.IsObject() {
			object = []byte(`{"error":` + told.Raw + `}`)
			return false
		}
		return true
	})
	return object
}

// addTimings returns the usage that llama.cpp tells with every finish reason without being asked, one answer's after the
// other if there are several. They have the prompt in common.
func (in *inspector) addTimings(timings []byte) *llmgateway.Usage {
	t := gjson.ParseBytes(timings)
	cached, completion := int(t.Get("cache_n").Int()), int(t.Get("predicted_n").Int())
	in.timed.PromptTokens = max(in.timed.PromptTokens, cached+int(t.Get("prompt_n").Int()))
	in.timed.CachedTokens = max(in.timed.CachedTokens, cached)
	in.timed.CompletionTokens += completion
	in.timed.TotalTokens = in.timed.PromptTokens + in.timed.CompletionTokens
	usage := in.timed
	return &usage
}

// maxNothing is the longest event that is looked at by [SaysNothing].
const maxNothing = 4 << 10

// SaysNothing reports whether an event that is the first to carry something ends an answer in which nothing was said: a whole one, or
// the finish of a stream. An answer that was cut short or filtered says by that why there is nothing in it.
func SaysNothing(event llmgateway.Event) bool {
	if event.FinishReason != "stop" || event.Native || len(event.Data) > maxNothing {
		return false
	}
	choices := gjson.GetBytes(event.Data, "choices")
	if !event.Whole {
		return !carries([]byte(choices.Raw))
	}
	nothing := true
	choices.ForEach(func(_, choice gjson.Result) bool {
		nothing = nothing && choice.Get("text").String() == ""
		choice.Get("message").ForEach(func(name, value gjson.Result) bool {
			nothing = nothing && (name.Str == "role" || empty(value))
			return nothing
		})
		return nothing
	})
	return nothing
}

// filled reports whether a value is a list with something in it.
func filled(value []byte) bool {
	return value[0] == '[' && value[skipSpace(value, 1)] != ']'
}

// carries reports whether a delta holds anything but a role and empty values.
func carries(choices []byte) (found bool) {
	gjson.ParseBytes(choices).ForEach(func(_, choice gjson.Result) bool {
		if choice.Get("text").String() != "" {
			found = true
			return false
		}
		choice.Get("delta").ForEach(func(key, value gjson.Result) bool {
			found = key.Str != "role" && !empty(value)
			return !found
		})
		return !found
	})
	return found
}

// empty reports whether a value is null, "", [] or {}.
func empty(value gjson.Result) bool {
	switch value.Type {
	case gjson.Null:
		return true
	case gjson.String:
		return value.Str == ""
	case gjson.JSON:
		inside := value.Raw[1 : len(value.Raw)-1]
		return len(bytes.TrimSpace([]byte(inside))) == 0
	default:
		return false
	}
}

// findString returns the first string, other than an empty one, that stands behind the quoted name anywhere in valid JSON,
// and what follows it.
func findString(data []byte, quotedName string) (s string, rest []byte) {
	for {
		start, end := stringBehind(data, quotedName)
		if start < 0 {
			return "", nil
		}
		if end > start {
			return finishReason(data[start:end]), data[end+1:]
		}
		data = data[end+1:]
	}
}

// finishReason returns the reason; the usual ones cost no allocation.
func finishReason(b []byte) string {
	switch string(b) {
	case "stop":
		return "stop"
	case "length":
		return "length"
	case "tool_calls":
		return "tool_calls"
	}
	return string(b)
}

func readUsage(raw []byte) *llmgateway.Usage {
	u := gjson.ParseBytes(raw)
	return &llmgateway.Usage{
		PromptTokens:     int(u.Get("prompt_tokens").Int()),
		CompletionTokens: int(u.Get("completion_tokens").Int()),
		TotalTokens:      int(u.Get("total_tokens").Int()),
		CachedTokens:     int(u.Get("prompt_tokens_details.cached_tokens").Int()),
		ReasoningTokens:  int(u.Get("completion_tokens_details.reasoning_tokens").Int()),
		Cost:             readCost(u),
	}
}

// readCost returns what the provider says that a generation cost, as OpenRouter does
// (https://openrouter.ai/docs/use-cases/usage-accounting). Where a key of the user's own paid the model's provider, that is
// told apart from OpenRouter's fee.
func readCost(usage gjson.Result) *float64 {
	told := usage.Get("cost")
	if told.Type != gjson.Number {
		return nil
	}
	cost := told.Num
	if usage.Get("is_byok").Bool() {
		cost += usage.Get("cost_details.upstream_inference_cost").Num
	}
	return &cost
}
