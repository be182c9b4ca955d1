package dialect

import (
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
	b := c.tools
	b = append(append(b, `,{"type":"function","function":{"name":`...), name...)
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
	b = append(b, `}}`...)
	c.tools = b
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
func (c *Chat) Request(native *llmgateway.Request) *llmgateway.Request {
	size := len(native.Body.Bytes)
	req := &llmgateway.Request{
		Operation: llmgateway.Chat, Model: native.Model, Provider: native.Provider, Stream: native.Stream, ClientStream: native.Stream,
		Native: native, Untranslated: c.unfit, LeftOut: c.LeftOut,
	}
	req.Body = llmgateway.BuildBody(size+size/64+room, func(b []byte) []byte {
		begin := func(name string) {
			m := llmgateway.Member{Name: name, Start: len(b) + 1}
			b = append(append(append(b, `,"`...), name...), `":`...)
			m.Value = len(b)
			req.Members = append(req.Members, m)
		}
		end := func() { req.Members[len(req.Members)-1].End = len(b) }
		begin("model")
		b[0] = '{'
		b = AppendQuoted(b, native.Model)
		end()
		if native.Stream {
			c.Set("stream", []byte("true"))
		}
		if len(c.tools) > 0 {
			c.tools[0] = '['
			c.Set("tools", append(c.tools, ']'))
		}
		for _, member := range c.members {
			begin(string(member[0]))
			b = append(b, member[1]...)
			end()
		}
		begin("messages")
		b = c.appendTo(b)
		end()
		return append(b, '}')
	})
	return req
}

// ReadNative reads a request to another API as far as every API has the same members.
func ReadNative(op llmgateway.Operation, body *llmgateway.Body) (Root, error) {
	req, err := openai.Read(op, body)
	return Root{req}, err
}

// Shed gives up the conversation in a request's Native, which may be megabytes, and keeps its other members. From then
// on the request is only sent as a chat.
func Shed(req *llmgateway.Request) {
	native := *req.Native
	native.Operation, native.Members = "", nil // nobody speaks that
	body := append(make([]byte, 0, room), '{')
	for _, m := range req.Native.Members {
		if m.Name == "messages" || m.Name == "input" {
			continue
		}
		if len(native.Members) > 0 {
			body = append(body, ',')
		}
		shift := len(body) - m.Start
		body = append(body, req.Native.Body.Bytes[m.Start:m.End]...)
		native.Members = append(native.Members, llmgateway.Member{Name: m.Name, Start: m.Start + shift, Value: m.Value + shift, End: m.End + shift})
	}
	native.Body = llmgateway.NewBody(append(body, '}'))
	req.Native.Body.Release()
	req.Native = &native
}

// Root is a client's request, whose members have been found already.
type Root struct{ *llmgateway.Request }

// Get returns a member. It is nil if there is none, or if it is null.
func (r Root) Get(member string) openai.Value { return r.Pick(member)[0] }

// Pick returns several members, as Get does.
func (r Root) Pick(members ...string) []openai.Value {
	found := make([]openai.Value, len(members))
	for i, member := range members {
		if m, ok := r.Lookup(member); ok && string(r.Raw(m)) != "null" {
			found[i] = r.Raw(m)
		}
	}
	return found
}

// Invalid is the error for a request that its own API does not know.
func Invalid(param, format string, args ...any) error {
	return &llmgateway.Error{Kind: llmgateway.InvalidRequest, Message: fmt.Sprintf(format, args...), Param: param}
}
