// Package responses speaks OpenAI's Responses API (https://platform.openai.com/docs/api-reference/responses): it makes a chat
// completion of a request, and a response of the answer. Nothing is kept: a client sends the whole conversation each time.
package responses

import (
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Read makes a chat's request of a body of POST /v1/responses. The client's own is its Native, which keeps the body.
func Read(body *llmgateway.Body) (*llmgateway.Request, error) {
	root, err := dialect.ReadNative(llmgateway.Responses, body)
	if err != nil {
		return nil, err
	}
	var c dialect.Chat
	if err := refuse(&c, root); err != nil {
		return nil, err
	}
	if err := readInput(&c, root); err != nil {
		return nil, err
	}
	if err := readTools(&c, root); err != nil {
		return nil, err
	}
	readSettings(&c, root)
	return c.Request(root.Request), nil
}

// refuse refuses what takes a server that keeps responses.
func refuse(c *dialect.Chat, root dialect.Root) error {
	m := root.Pick("previous_response_id", "conversation", "store", "background", "prompt")
	switch {
	case m[0] != nil:
		return dialect.Invalid("previous_response_id", "responses are not kept here; send the whole conversation as input, with store false")
	case m[1] != nil:
		return dialect.Invalid("conversation", "conversations are not kept here; send the whole conversation as input, with store false")
	case m[2].IsTrue():
		return dialect.Invalid("store", "responses are not kept here; send store false, and the whole conversation as input each time")
	case m[3].IsTrue():
		return dialect.Invalid("background", "responses are not made in the background here; send background false, and stream if it may take long")
	case m[4] != nil:
		c.Cannot("prompt", "it has no prompt templates; send the prompt as input")
	}
	return nil
}

// renamed are members that chat has, by its own name for them.
var renamed = []struct{ name, chat string }{
	{"max_output_tokens", "max_tokens"},
	{"temperature", "temperature"},
	{"top_p", "top_p"},
	{"parallel_tool_calls", "parallel_tool_calls"},
	{"user", "user"},
	{"safety_identifier", "safety_identifier"},
	{"prompt_cache_key", "prompt_cache_key"},
	{"service_tier", "service_tier"},
	{"provider", "provider"},
	{"models", "models"},
}

func readSettings(c *dialect.Chat, root dialect.Root) {
	for _, member := range renamed {
		if member.name == "parallel_tool_calls" && !c.HasTools() {
			continue // some servers refuse it then
		}
		c.Set(member.chat, root.Get(member.name))
	}
	m := root.Pick("reasoning", "text")
	c.Set("reasoning_effort", m[0].Get("effort"))
	text := m[1].Pick("format", "verbosity")
	c.Set("verbosity", text[1])
	switch format := text[0]; format.Get("type").Text() {
	case "json_object":
		c.Set("response_format", format)
	case "json_schema":
		c.Set("response_format", schema(format))
	}
}

// schema returns a format with a schema as chat has it, one level deeper.
func schema(format openai.Value) []byte {
	b := []byte(`{"type":"json_schema","json_schema":{`)
	first := true
	for name, value := range format.Members() {
		if name == "type" {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(dialect.AppendQuoted(b, name), ':'), value...)
	}
	return append(b, `}}`...)
}
