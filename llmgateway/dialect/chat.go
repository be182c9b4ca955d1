package dialect

import (
	"bytes"
	"fmt"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Chat is a chat completion in the making: the translation of a request to another API.
type Chat struct {
	Conversation
	// LeftOut are abilities that the client offers and that chat cannot, such as a provider's own web search. The model answers
	// without them.
	LeftOut []string

	members [][2][]byte
	tools   []byte
	unfit   *llmgateway.Error
}

// Set sets a member, unless the value is nil.
func (c *Chat) Set(name string, value []byte) {
	if value != nil {
		c.members = append(c.members, [2][]byte{[]byte(name), value})
	}
}

// Function offers a tool. All but the name may be nil.
func (c *Chat) Function(name, description, parameters, strict openai.Value) {
	b := append(c.tools, `,{"type":"function","function":{"name":`...)
	b = append(b, name...)
	if description.IsString() {
		b = append(append(b, `,"description":`...), description...)
	}
	if !parameters.IsObject() {
		parameters = openai.Value(`{"type":"object","properties":{}}`)
	}
	b = append(append(b, `,"parameters":`...), parameters...)
	if strict != nil {
		b = append(append(b, `,"strict":`...), strict...)
	}
	c.tools = append(b, `}}`...)
}

// HasTools reports whether there is a tool that a chat model can call.
func (c *Chat) HasTools() bool { return len(c.tools) > 0 }

// Cannot notes that chat cannot say what the client does. Only a target that speaks the client's API can take the request
// then.
func (c *Chat) Cannot(param, format string, args ...any) {
	if c.unfit == nil {
		c.unfit = &llmgateway.Error{Kind: llmgateway.Unsupported, Message: fmt.Sprintf(format, args...), Param: param}
	}
}

// room is what the names of members take that chat has and others do not, and the growth of texts by their quotes.
const room = 8 << 10

// Request returns the request that the chat is. Its Native is the client's own, which it refers to.
func (c *Chat) Request(native *llmgateway.Request) (*llmgateway.Request, error) {
	size := len(native.Body.Bytes)
	body := llmgateway.BuildBody(size+size/64+room, func(b []byte) []byte {
		b = AppendQuoted(append(b, `{"model":`...), native.Model)
		if native.Stream {
			b = append(b, `,"stream":true`...)
		}
		for _, member := range c.members {
			b = append(append(append(b, `,"`...), member[0]...), `":`...)
			b = append(b, member[1]...)
		}
		if len(c.tools) > 0 {
			b = append(append(append(b, `,"tools":[`...), c.tools[1:]...), ']')
		}
		b = c.appendTo(append(b, `,"messages":`...))
		return append(b, '}')
	})
	req, err := openai.Read(llmgateway.Chat, body)
	if err != nil {
		body.Release()
		return nil, err
	}
	req.Native, req.Untranslated, req.LeftOut = native, c.unfit, c.LeftOut
	return req, nil
}

// ReadNative reads a request to another API as far as every API has the same members. It takes over the reference to the body.
func ReadNative(op llmgateway.Operation, body *llmgateway.Body) (*llmgateway.Request, openai.Value, error) {
	req, err := openai.Read(op, body)
	if err != nil {
		return nil, nil, err
	}
	return req, bytes.TrimSpace(body.Bytes), nil
}

// Invalid is the error for a request that its own API does not know.
func Invalid(param, format string, args ...any) error {
	return &llmgateway.Error{Kind: llmgateway.InvalidRequest, Message: fmt.Sprintf(format, args...), Param: param}
}
