// Package anthropic speaks Anthropic's Messages API (https://docs.anthropic.com/en/api/messages): it makes a chat completion
// of a request, and a message of the answer.
package anthropic

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Read makes a chat's request of a body of POST /v1/messages. The client's own is its Native, which keeps
// the body.
func Read(body *llmgateway.Body) (*llmgateway.Request, error) {
	root, err := dialect.ReadNative(llmgateway.Messages, body)
	if err != nil {
		return nil, err
	}
	var c dialect.Chat
	if err := readMessages(&c, root); err != nil {
		return nil, err
	}
	if err := readTools(&c, root); err != nil {
		return nil, err
	}
	readSettings(&c, root)
	return c.Request(root.Request), nil
}

// sameMembers are members that chat has by the same name.
var sameMembers = []string{"max_tokens", "temperature", "top_p", "top_k", "provider", "models"}

// maxUser is the longest name of a user that chat's servers take.
const maxUser = 64

func readSettings(c *dialect.Chat, root dialect.Root) {
	for i, value := range root.Pick(sameMembers...) {
		c.Set(sameMembers[i], value)
	}
	m := root.Pick("stop_sequences", "metadata", "thinking", "output_config", "output_format", "mcp_servers", "container")
	if stop := m[0]; stop.IsList() && string(stop) != "[]" {
		c.Set("stop", stop)
	}
	if user := m[1].Get("user_id"); len(user.Inner()) > 0 && len(user.Inner()) <= maxUser {
		c.Set("user", user)
	}
	if effort := effort(m[3].Get("effort").Text(), m[2]); effort != "" {
		c.Set("reasoning_effort", dialect.Quote(effort))
	}
	format := m[3].Get("format")
	if format == nil {
		format = m[4]
	}
	if schema := format.Get("schema"); schema != nil {
		c.Set("response_format", []byte(`{"type":"json_schema","json_schema":{"name":"answer","strict":true,"schema":`+string(schema)+`}}`))
	}
	if servers := m[5]; servers.IsList() && string(servers) != "[]" {
		c.Cannot("mcp_servers", "it cannot call MCP servers by itself; let the client call them, and offer their tools")
	}
	if m[6] != nil {
		c.Cannot("container", "it has no containers")
	}
}

// effort returns how much a model is to think, in chat's words, or nothing if that is left to it.
func effort(asked string, thinking openai.Value) string {
	switch {
	case asked == "max":
		return "xhigh"
	case asked != "":
		return asked
	case thinking.Get("type").Text() != "enabled":
		return ""
	}
	switch budget := gjson.ParseBytes(thinking.Get("budget_tokens")).Int(); {
	case budget < 4<<10:
		return "low"
	case budget < 16<<10:
		return "medium"
	default:
		return "high"
	}
}

// bookkeeping begins a block of the system's that Claude Code sends to be billed by. It is different in every request, so that no
// prompt cache would ever hold anything behind it.
const bookkeeping = "x-anthropic-billing-header:"

// readSystem reads a text, or a list of blocks of text.
func readSystem(c *dialect.Chat, system openai.Value) error {
	if system.IsString() {
		c.System(dialect.Text(system))
		return nil
	}
	for block := range system.Elements() {
		text := block.Get("text")
		if !text.IsString() {
			return dialect.Invalid("system", `a block of "system" has no text`)
		}
		if !strings.HasPrefix(string(text.Inner()), bookkeeping) {
			c.System(dialect.Text(text))
		}
	}
	return nil
}
