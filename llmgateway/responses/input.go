package responses

import (
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

func readInput(c *dialect.Chat, root dialect.Root) error {
	m := root.Pick("instructions", "input")
	if instructions := m[0]; instructions.IsString() {
		c.System(dialect.Text(instructions))
	} else if instructions != nil {
		return dialect.Invalid("instructions", `the member "instructions" must be a string`)
	}
	switch input := m[1]; {
	case input.IsString():
		c.User(dialect.Text(input))
	case input.IsList():
		for item := range input.Elements() {
			if err := readItem(c, item); err != nil {
				return err
			}
		}
	default:
		return dialect.Invalid("input", `the member "input" must be a text or a list of items`)
	}
	return nil
}

// readItem reads one item of the conversation.
func readItem(c *dialect.Chat, item openai.Value) error {
	switch kind := item.Get("type").Text(); kind {
	case "", "message":
		return readMessage(c, item)
	case "function_call", "custom_tool_call":
		return readCall(c, item)
	case "function_call_output", "custom_tool_call_output":
		return readOutput(c, item)
	case "reasoning":
		readReasoning(c, item)
	case "item_reference":
		return dialect.Invalid("input", `items are not kept here; send the item itself instead of an "item_reference"`)
	default:
		c.Cannot("input", "it takes no item %q", short(kind))
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

func readMessage(c *dialect.Chat, item openai.Value) error {
	m := item.Pick("role", "content")
	parts, err := readContent(c, m[1])
	if err != nil {
		return err
	}
	switch role := m[0].Text(); role {
	case "user":
		c.User(parts...)
	case "assistant":
		c.Assistant(parts...)
	case "system", "developer":
		c.System(parts...)
	default:
		return dialect.Invalid("input", `the "role" of a message is %q; it must be user, assistant, system or developer`, short(role))
	}
	return nil
}

// readContent reads a text, or a list of parts.
func readContent(c *dialect.Chat, content openai.Value) ([]dialect.Part, error) {
	if content.IsString() {
		return []dialect.Part{dialect.Text(content)}, nil
	}
	if !content.IsList() {
		return nil, dialect.Invalid("input", "the content of an item must be a text or a list of parts")
	}
	var parts []dialect.Part
	for v := range content.Elements() {
		m := v.Pick("type", "text", "refusal", "image_url", "detail", "input_audio")
		switch kind := m[0].Text(); {
		case (kind == "input_text" || kind == "output_text" || kind == "text") && m[1].IsString():
			parts = append(parts, dialect.Text(m[1]))
		case kind == "refusal" && m[2].IsString():
			parts = append(parts, dialect.Text(m[2]))
		case kind == "input_image" && m[3].IsString():
			parts = append(parts, dialect.Image(m[4], m[3].Inner()))
		case kind == "input_image":
			c.Cannot("input", "it has no uploaded files; send the image in image_url")
		case kind == "input_file":
			parts = append(parts, readFile(c, v)...)
		case kind == "input_audio" && m[5].IsObject():
			parts = append(parts, dialect.Raw(v))
		case kind == "input_text", kind == "output_text", kind == "refusal":
			return nil, dialect.Invalid("input", "a part %q has no text", kind)
		default:
			c.Cannot("input", "it takes no part %q", short(kind))
		}
	}
	return parts, nil
}

// readFile returns a file: a text as text, and another one as it is.
func readFile(c *dialect.Chat, v openai.Value) []dialect.Part {
	m := v.Pick("file_data", "filename")
	if !m[0].IsString() {
		c.Cannot("input", "it has no uploaded files and fetches none; send the file in file_data")
		return nil
	}
	if text, ok := dialect.TextOf(m[0]); ok {
		part := []dialect.Part{dialect.Plain(text)}
		if len(m[1].Inner()) > 0 {
			part = append([]dialect.Part{dialect.Text(m[1])}, part...)
		}
		return part
	}
	return []dialect.Part{dialect.File(m[1], m[0].Inner())}
}

func readCall(c *dialect.Chat, item openai.Value) error {
	m := item.Pick("type", "call_id", "name", "arguments", "input")
	if !m[1].IsString() || !m[2].IsString() {
		return dialect.Invalid("input", `a call needs a "call_id" and a "name", which are strings`)
	}
	arguments := m[3].Inner()
	if m[0].Text() == "custom_tool_call" {
		quoted := dialect.Quote(`{"input":` + string(dialect.Quote(m[4].Text())) + `}`)
		arguments = quoted[1 : len(quoted)-1]
	}
	c.Call(m[1], m[2], arguments)
	return nil
}

func readOutput(c *dialect.Chat, item openai.Value) error {
	m := item.Pick("call_id", "output")
	if !m[0].IsString() {
		return dialect.Invalid("input", `the output of a call has no "call_id"`)
	}
	parts, err := readContent(c, m[1])
	if err != nil {
		return err
	}
	c.Result(m[0], parts...)
	return nil
}

// plain begins what the gateway gives out for a model's encrypted reasoning, which clients send back without a look at it.
const plain = "plain:"

// readReasoning reads what the model thought: the thoughts themselves if they are there, or a summary of them.
func readReasoning(c *dialect.Chat, item openai.Value) {
	m := item.Pick("content", "encrypted_content", "summary")
	texts := thoughts(m[0])
	if thought, ok := strings.CutPrefix(m[1].Text(), plain); ok && len(texts) == 0 && thought != "" {
		texts = []dialect.Part{dialect.Plain(thought)}
	}
	if len(texts) == 0 {
		texts = thoughts(m[2])
	}
	if len(texts) > 0 {
		c.Thought(texts...)
	}
}

func thoughts(list openai.Value) (parts []dialect.Part) {
	for v := range list.Elements() {
		if text := v.Get("text"); len(text.Inner()) > 0 {
			parts = append(parts, dialect.Text(text))
		}
	}
	return parts
}
