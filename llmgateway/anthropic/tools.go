package anthropic

import (
	"slices"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// readTools reads the tools and the choice among them.
//
// Tools that Anthropic defines or runs itself, such as its web search, mean nothing to other models. They are left out if the
// model can do without: if there are other tools, and it is free to choose.
func readTools(c *dialect.Chat, root dialect.Root) error {
	m := root.Pick("tools", "tool_choice")
	var foreign []string
	for tool := range m[0].Elements() {
		m := tool.Pick("type", "name", "description", "input_schema", "strict")
		if !m[1].IsString() && (m[0] == nil || m[0].Text() == "custom") {
			return dialect.Invalid("tools", "a tool has no name")
		}
		if m[0] != nil && m[0].Text() != "custom" {
			foreign = append(foreign, short(m[0].Text()))
			continue
		}
		c.Function(m[1], m[2], m[3], m[4])
	}
	choice := m[1].Pick("type", "name", "disable_parallel_tool_use")
	kind := choice[0].Text()
	if len(foreign) > 0 && kind != "none" {
		forced := kind == "tool" && slices.ContainsFunc(slices.Collect(m[0].Elements()), func(tool openai.Value) bool {
			return tool.Get("name").Text() == choice[1].Text() && tool.Get("type") != nil && tool.Get("type").Text() != "custom"
		})
		if forced || !c.HasTools() {
			c.Cannot("tools", "it does not have the tool %q; only models of Anthropic's do, so offer one with an input_schema", foreign[0])
		}
	}
	c.LeftOut = append(c.LeftOut, foreign...)
	if !c.HasTools() {
		return nil
	}
	switch kind {
	case "", "auto":
		if kind != "" {
			c.Set("tool_choice", []byte(`"auto"`))
		}
	case "any":
		c.Set("tool_choice", []byte(`"required"`))
	case "none":
		c.Set("tool_choice", []byte(`"none"`))
	case "tool":
		if !choice[1].IsString() {
			return dialect.Invalid("tool_choice", `the choice of a tool has no "name"`)
		}
		c.Set("tool_choice", []byte(`{"type":"function","function":{"name":`+string(choice[1])+`}}`))
	default:
		return dialect.Invalid("tool_choice", `the "type" of "tool_choice" is %q; it must be auto, any, tool or none`, short(kind))
	}
	if choice[2].IsTrue() {
		c.Set("parallel_tool_calls", []byte("false"))
	}
	return nil
}
