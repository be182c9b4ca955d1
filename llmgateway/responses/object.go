package responses

import (
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
)

// echoed are members of a response that say what was asked for, with what they are if the client has not said it.
var echoed = []struct{ name, otherwise string }{
	{"instructions", "null"},
	{"max_output_tokens", "null"},
	{"metadata", "{}"},
	{"parallel_tool_calls", "true"},
	{"prompt_cache_key", "null"},
	{"reasoning", `{"effort":null,"summary":null}`},
	{"safety_identifier", "null"},
	{"temperature", "1"},
	{"text", `{"format":{"type":"text"}}`},
	{"tool_choice", `"auto"`},
	{"tools", "[]"},
	{"top_p", "1"},
	{"user", "null"},
}

// appendTo appends the response as far as it has come. The failure may be nil.
func (r *response) appendTo(b []byte, status string, failure []byte) []byte {
	b = dialect.AppendQuoted(append(b, `{"id":`...), r.id("resp_"))
	b = append(b, `,"object":"response","created_at":`...)
	created := r.reader.Facts.Created
	if created == 0 {
		created = r.created
	}
	b = strconv.AppendInt(b, created, 10)
	b = append(append(append(b, `,"status":"`...), status...), `","background":false,"error":`...)
	if failure == nil {
		failure = []byte("null")
	}
	b = append(append(b, failure...), `,"incomplete_details":`...)
	b = append(b, incomplete(status, r.reader.Facts.FinishReason)...)
	b = dialect.AppendQuoted(append(b, `,"model":`...), r.reader.Facts.Model)
	b = append(b, `,"output":[`...)
	for i, item := range r.items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	b = append(b, `],"previous_response_id":null,"store":false,"truncation":"disabled"`...)
	for i, value := range r.echo() {
		b = append(append(append(b, `,"`...), echoed[i].name...), `":`...)
		b = append(b, value...)
	}
	return append(appendUsage(append(b, `,"usage":`...), r.usage), '}')
}

// echo returns the values of the echoed members.
func (r *response) echo() [][]byte {
	if r.echoes == nil {
		names := make([]string, len(echoed))
		for i, member := range echoed {
			names[i] = member.name
		}
		for i, value := range r.request.Pick(names...) {
			if value == nil {
				value = []byte(echoed[i].otherwise)
			}
			r.echoes = append(r.echoes, value)
		}
	}
	return r.echoes
}

// incomplete returns why a response is not whole.
func incomplete(status, finishReason string) string {
	switch {
	case status != "incomplete":
		return "null"
	case finishReason == "content_filter":
		return `{"reason":"content_filter"}`
	default:
		return `{"reason":"max_output_tokens"}`
	}
}

func appendUsage(b []byte, usage *llmgateway.Usage) []byte {
	if usage == nil {
		return append(b, "null"...)
	}
	count := func(before string, tokens int) { b = strconv.AppendInt(append(b, before...), int64(tokens), 10) }
	count(`{"input_tokens":`, usage.PromptTokens)
	count(`,"input_tokens_details":{"cached_tokens":`, usage.CachedTokens)
	count(`},"output_tokens":`, usage.CompletionTokens)
	count(`,"output_tokens_details":{"reasoning_tokens":`, usage.ReasoningTokens)
	count(`},"total_tokens":`, usage.PromptTokens+usage.CompletionTokens)
	return append(b, '}')
}
