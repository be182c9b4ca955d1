package dialect

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Conversation collects the messages of a chat. Messages in a row that have the same role become one, and the results of
// tools come right behind their calls, as strict servers and templates want it.
type Conversation struct {
	messages []message
	// shown are images of tool results. Chat has no place for them there, so they begin the user's next message.
	shown []Part

	called   map[string]openai.Value // the names of the tools, by the ids of their calls
	answered map[string]int          // the messages with the results of the last calls, by the ids of the calls
	next     int                     // where the next result belongs
}

// message is one message of a chat.
type message struct {
	role     string
	parts    []Part
	thoughts []Part
	calls    []call
	answers  string // the id of the call that a tool's message answers, as a JSON string
}

type call struct {
	id, name  openai.Value
	arguments []byte // the inside of a JSON string
}

// turn returns the message in the making, which has the role.
func (c *Conversation) turn(role string) *message {
	if role != "user" {
		c.show()
	}
	if n := len(c.messages); n == 0 || c.messages[n-1].role != role {
		c.messages = append(c.messages, message{role: role})
	}
	m := &c.messages[len(c.messages)-1]
	if role == "user" && len(c.shown) > 0 {
		m.parts = append(m.parts, c.shown...)
		c.shown = nil
	}
	return m
}

// show makes a message of the images that no message of the user's has taken in.
func (c *Conversation) show() {
	if len(c.shown) > 0 {
		c.turn("user")
	}
}

// System adds to what the system says.
func (c *Conversation) System(parts ...Part) {
	if len(parts) > 0 {
		m := c.turn("system")
		m.parts = append(m.parts, parts...)
	}
}

// User adds to what the user says.
func (c *Conversation) User(parts ...Part) {
	if len(parts) > 0 {
		m := c.turn("user")
		m.parts = append(m.parts, parts...)
	}
}

// Assistant adds to what the assistant says.
func (c *Conversation) Assistant(parts ...Part) {
	m := c.turn("assistant")
	m.parts = append(m.parts, parts...)
}

// Thought adds to what the assistant thinks.
func (c *Conversation) Thought(parts ...Part) {
	m := c.turn("assistant")
	m.thoughts = append(m.thoughts, parts...)
}

// Call adds a call that the assistant makes. The arguments are the inside of a JSON string.
func (c *Conversation) Call(id, name openai.Value, arguments []byte) {
	m := c.turn("assistant")
	m.calls = append(m.calls, call{id, name, arguments})
	if c.called == nil {
		c.called = make(map[string]openai.Value)
	}
	c.called[string(id)] = name
	c.answered, c.next = nil, len(c.messages)
}

// Result adds what a tool answered. Further results of the same call are added to the first.
func (c *Conversation) Result(id openai.Value, parts ...Part) {
	m := c.result(id)
	for _, part := range parts {
		if part.json == nil {
			m.parts = append(m.parts, part)
			continue
		}
		label := fmt.Sprintf("Shown by %s:", cmp.Or(c.called[string(id)].Text(), "a tool"))
		c.shown = append(c.shown, Plain(label), part)
	}
}

// maxBehind bounds how many messages a result is put in front of.
const maxBehind = 64

// result returns the message with the result of a call. A new one is placed behind the last call and its other results, in front
// of what the user has said since.
func (c *Conversation) result(id openai.Value) *message {
	if at, ok := c.answered[string(id)]; ok {
		return &c.messages[at]
	}
	if c.called == nil || len(c.messages)-c.next > maxBehind {
		c.next = len(c.messages)
	}
	if c.answered == nil {
		c.answered = make(map[string]int)
	}
	at := c.next
	c.messages = slices.Insert(c.messages, at, message{role: "tool", answers: string(id)})
	c.answered[string(id)] = at
	c.next++
	return &c.messages[at]
}

// appendTo appends the list of messages.
func (c *Conversation) appendTo(b []byte) []byte {
	c.show()
	b = append(b, '[')
	for i := range c.messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.messages[i].appendTo(b)
	}
	return append(b, ']')
}

func (m *message) appendTo(b []byte) []byte {
	b = append(append(append(b, `{"role":"`...), m.role...), '"')
	if m.answers != "" {
		b = append(append(b, `,"tool_call_id":`...), m.answers...)
	}
	b = append(b, `,"content":`...)
	switch m.role {
	case "user":
		b = m.appendList(b)
	case "system":
		b = appendJoined(b, m.parts, `\n\n`)
	case "tool":
		b = appendJoined(b, m.parts, `\n`)
	default:
		b = appendJoined(b, m.parts, "")
	}
	if len(m.thoughts) > 0 {
		b = appendJoined(append(b, `,"reasoning_content":`...), m.thoughts, `\n\n`)
	}
	if len(m.calls) > 0 {
		b = append(b, `,"tool_calls":[`...)
		for i, call := range m.calls {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, `{"id":`...), call.id...)
			b = append(append(b, `,"type":"function","function":{"name":`...), call.name...)
			b = append(append(b, `,"arguments":"`...), call.arguments...)
			b = append(b, `"}}`...)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendList appends the parts as a list, or as a string if there is just one text.
func (m *message) appendList(b []byte) []byte {
	if len(m.parts) == 1 && m.parts[0].json == nil {
		return appendJoined(b, m.parts, "")
	}
	b = append(b, '[')
	for i, part := range m.parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = part.appendTo(b)
	}
	return append(b, ']')
}

// appendJoined appends the texts as one string.
func appendJoined(b []byte, parts []Part, between string) []byte {
	b = append(b, '"')
	for i, part := range parts {
		if i > 0 {
			b = append(b, between...)
		}
		b = append(b, part.text...)
	}
	return append(b, '"')
}
