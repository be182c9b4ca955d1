package anthropic

import (
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

func readMessages(c *dialect.Chat, root dialect.Root) error {
	m := root.Pick("system", "messages")
	if err := readSystem(c, m[0]); err != nil {
		return err
	}
	if !m[1].IsList() {
		return dialect.Invalid("messages", `the member "messages" must be a list of messages`)
	}
	none := true
	for message := range m[1].Elements() {
		none = false
		m := message.Pick("role", "content")
		content := m[1]
		if !content.IsString() && !content.IsList() {
			return dialect.Invalid("messages", `the "content" of a message must be a text or a list of blocks`)
		}
		var err error
		switch role := m[0].Text(); role {
		case "user":
			err = readUser(c, content)
		case "assistant":
			err = readAssistant(c, content)
		case "system":
			err = readSystem(c, content)
		default:
			err = dialect.Invalid("messages", `the "role" of a message is %q; it must be user or assistant`, short(role))
		}
		if err != nil {
			return err
		}
	}
	if none {
		return dialect.Invalid("messages", `the member "messages" is empty`)
	}
	return nil
}

// short keeps what a client wrote from filling an error.
func short(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return s
}

// block is one block of a message's content.
type block struct {
	kind                                   string
	text, source, id, name, input, content openai.Value
	failed                                 bool
	raw                                    openai.Value
}

func readBlock(v openai.Value) block {
	m := v.Pick("type", "text", "source", "id", "name", "input", "content", "tool_use_id", "is_error")
	b := block{
		kind: m[0].Text(), text: m[1], source: m[2], id: m[3], name: m[4], input: m[5], content: m[6], failed: m[8].IsTrue(), raw: v,
	}
	if b.kind == "tool_result" {
		b.id = m[7]
	}
	return b
}

// readUser reads what the user says. Results of tools go first, wherever they are in the message: chat has them right behind
// their calls.
func readUser(c *dialect.Chat, content openai.Value) error {
	if content.IsString() {
		c.User(dialect.Text(content))
		return nil
	}
	var parts []dialect.Part
	for v := range content.Elements() {
		b := readBlock(v)
		if b.kind == "tool_result" {
			if err := readResult(c, b); err != nil {
				return err
			}
			continue
		}
		more, err := readPart(c, b)
		if err != nil {
			return err
		}
		parts = append(parts, more...)
	}
	c.User(parts...)
	return nil
}

func readResult(c *dialect.Chat, b block) error {
	if !b.id.IsString() {
		return dialect.Invalid("messages", `a "tool_result" has no "tool_use_id"`)
	}
	var parts []dialect.Part
	if b.failed {
		parts = append(parts, dialect.Plain("Error:"))
	}
	if b.content.IsString() {
		parts = append(parts, dialect.Text(b.content))
	}
	for v := range b.content.Elements() {
		more, err := readPart(c, readBlock(v))
		if err != nil {
			return err
		}
		parts = append(parts, more...)
	}
	c.Result(b.id, parts...)
	return nil
}

func readAssistant(c *dialect.Chat, content openai.Value) error {
	if content.IsString() {
		c.Assistant(dialect.Text(content))
		return nil
	}
	for v := range content.Elements() {
		switch b := readBlock(v); b.kind {
		case "text":
			c.Assistant(dialect.Text(b.text))
		case "thinking":
			if thinking := v.Get("thinking"); len(thinking.Inner()) > 0 {
				c.Thought(dialect.Text(thinking))
			}
		case "redacted_thinking": // only who has written it can read it
		case "tool_use":
			if !b.id.IsString() || !b.name.IsString() {
				return dialect.Invalid("messages", `a "tool_use" needs an "id" and a "name", which are strings`)
			}
			input := string(b.input)
			if !b.input.IsObject() {
				input = "{}"
			}
			quoted := dialect.Quote(input)
			c.Call(b.id, b.name, quoted[1:len(quoted)-1])
		default:
			c.Cannot("messages", "it takes no block %q of the assistant's", short(b.kind))
		}
	}
	return nil
}
