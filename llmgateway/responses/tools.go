package responses

import (
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// readTools reads the tools and the choice among them.
//
// A custom tool, which takes any text, becomes a function with that text as its only argument. Tools that OpenAI runs itself,
// such as its web search, are left out if the model can do without: if there are others, and it is free to choose.
func readTools(c *dialect.Chat, root dialect.Root) error {
	m := root.Pick("tools", "tool_choice")
	var foreign []string
	for tool := range m[0].Elements() {
		m := tool.Pick("type", "name", "description", "parameters", "strict", "format")
		switch kind := m[0].Text(); {
		case kind != "function" && kind != "custom":
			foreign = append(foreign, short(kind))
		case !m[1].IsString():
			return dialect.Invalid("tools", "a tool has no name")
		case kind == "custom":
			c.Function(m[1], describe(m[2], m[5]), openai.Value(customParameters), nil)
		default:
			c.Function(m[1], m[2], m[3], m[4])
		}
	}
	choice := m[1]
	if len(foreign) > 0 && choice.Text() != "none" && !c.HasTools() {
		c.Cannot("tools", "it does not have the tool %q, which OpenAI runs; offer a function", foreign[0])
	}
	c.LeftOut = append(c.LeftOut, foreign...)
	if choice != nil && c.HasTools() {
		c.Set("tool_choice", readChoice(c, choice))
	}
	return nil
}

const customParameters = `{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}`

// describe returns a custom tool's description, with the grammar that its input follows.
func describe(description, format openai.Value) openai.Value {
	definition := format.Get("definition").Text()
	if definition == "" {
		return description
	}
	text := description.Text() + "\n\nThe input follows this " + format.Get("syntax").Text() + " grammar:\n" + definition
	return dialect.Quote(text)
}

// readChoice returns chat's words for a choice.
func readChoice(c *dialect.Chat, choice openai.Value) []byte {
	if choice.IsString() {
		return choice
	}
	m := choice.Pick("type", "name", "mode", "tools")
	switch kind := m[0].Text(); {
	case (kind == "function" || kind == "custom") && m[1].IsString():
		return function(m[1])
	case kind == "allowed_tools" && m[2].IsString():
		b := append([]byte(`{"type":"allowed_tools","allowed_tools":{"mode":`), m[2]...)
		b = append(b, `,"tools":[`...)
		first := true
		for tool := range m[3].Elements() {
			name := tool.Get("name")
			if !name.IsString() {
				continue // one of OpenAI's own
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(b, function(name)...)
		}
		return append(b, `]}}`...)
	default:
		c.Cannot("tool_choice", "it does not have the tool %q, which OpenAI runs", short(kind))
		return nil
	}
}

func function(name openai.Value) []byte {
	return []byte(`{"type":"function","function":{"name":` + string(name) + `}}`)
}

// customTools returns the names of the custom tools in a request.
func customTools(root dialect.Root) map[string]bool {
	var names map[string]bool
	for tool := range root.Get("tools").Elements() {
		if m := tool.Pick("type", "name"); m[0].Text() == "custom" {
			if names == nil {
				names = make(map[string]bool)
			}
			names[m[1].Text()] = true
		}
	}
	return names
}
