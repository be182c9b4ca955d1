package bytebot

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// conversation is where everything lies in a request's list of messages. Nothing is decoded; all offsets are of the body.
type conversation struct {
	body     []byte
	list     span // the list, with its brackets
	messages []message
	images   []picture
	// tools is true if tools are offered, and status if one of them is set_task_status.
	tools, status bool
	// odd is true if something is not of its type, or there twice.
	odd bool
}

// span is a piece of the body. The zero value is none.
type span struct{ start, end int }

func (s span) none() bool { return s.end == 0 }

// in returns the bytes of the span.
func (s span) in(body []byte) []byte { return body[s.start:s.end] }

// inside returns a string's span without its quotes.
func (s span) inside() span { return span{s.start + 1, s.end - 1} }

type role int

const (
	none role = iota
	other
	system
	user
	assistant
	tool
)

func roleOf(quoted []byte) role {
	switch string(quoted) {
	case `"system"`, `"developer"`:
		return system
	case `"user"`:
		return user
	case `"assistant"`:
		return assistant
	case `"tool"`:
		return tool
	}
	return other
}

// message is one message.
type message struct {
	span
	role      role
	content   span
	reasoning span
	calls     []call
	answers   string   // the id of the call that a tool's message answers
	answersAt span     // with its quotes
	more      []member // members that are none of the above, nor the role
}

type member struct {
	name  string // as it is written
	value span
}

// call is a call of a tool.
type call struct {
	span
	id        string
	idAt      span // with its quotes
	name      string
	arguments span // with its quotes
}

// picture is a part of a message's content that is an image.
type picture struct {
	message int
	part    span
	url     span // without its quotes
	low     bool // it is to be looked at in low detail
}

// read finds what is in the messages of a request that [openai.Read] has made. ok is false if they are not as the API wants them,
// which is for the provider to complain about.
func read(req *llmgateway.Request) (c *conversation, ok bool) {
	m, ok := req.Lookup("messages")
	if !ok || req.Body.Bytes[m.Value] != '[' {
		return nil, false
	}
	c = &conversation{body: req.Body.Bytes, list: span{m.Value, m.End}}
	if tools, ok := req.Lookup("tools"); ok {
		c.tools = bytes.HasPrefix(bytes.TrimLeft(req.Raw(tools), "[ \n\r\t"), []byte("{"))
		c.status = bytes.Contains(req.Raw(tools), []byte(`"set_task_status"`))
	}
	openai.EachElement(c.body, m.Value, func(at int) int {
		message := message{span: span{at, 0}}
		if c.body[at] != '{' {
			c.odd = true
			return openai.Skip(c.body, at)
		}
		message.end = openai.EachMember(c.body, at, func(name []byte, value int) int {
			return c.member(&message, name, value)
		})
		c.odd = c.odd || message.role == none
		c.messages = append(c.messages, message)
		return message.end
	})
	return c, !c.odd
}

// expect notes that a value must be one of the kinds that begin so, and the only one of its name.
func (c *conversation) expect(value int, kinds string, before span) {
	if strings.IndexByte(kinds, c.body[value]) < 0 || !before.none() {
		c.odd = true
	}
}

// member takes in a member of a message, and returns where it ends.
func (c *conversation) member(m *message, name []byte, value int) (end int) {
	switch string(name) {
	case "role":
		end = openai.Skip(c.body, value)
		c.odd = c.odd || m.role != none
		m.role = roleOf(c.body[value:end])
		return end
	case "content":
		c.expect(value, `"[n`, m.content)
		m.content.start = value
		m.content.end = openai.EachElement(c.body, value, func(part int) int { return c.part(part) })
		return m.content.end
	case "reasoning_content":
		c.expect(value, `"n`, m.reasoning)
		m.reasoning = span{value, openai.Skip(c.body, value)}
		return m.reasoning.end
	case "tool_calls":
		c.odd = c.odd || c.body[value] != '[' && c.body[value] != 'n' || len(m.calls) > 0
		return openai.EachElement(c.body, value, func(at int) int {
			call := c.call(at)
			m.calls = append(m.calls, call)
			return call.end
		})
	case "tool_call_id":
		c.expect(value, `"`, m.answersAt)
		m.answersAt = span{value, openai.Skip(c.body, value)}
		m.answers = text(m.answersAt.in(c.body))
		return m.answersAt.end
	}
	end = openai.Skip(c.body, value)
	m.more = append(m.more, member{string(name), span{value, end}})
	return end
}

// part takes in a part of a message's content.
func (c *conversation) part(at int) (end int) {
	var url span
	low := false
	end = openai.EachMember(c.body, at, func(name []byte, value int) int {
		if string(name) != "image_url" {
			return openai.Skip(c.body, value)
		}
		return openai.EachMember(c.body, value, func(name []byte, value int) int {
			end := openai.Skip(c.body, value)
			switch {
			case string(name) == "url" && c.body[value] == '"':
				url = span{value, end}.inside()
			case string(name) == "detail":
				low = string(c.body[value:end]) == `"low"`
			}
			return end
		})
	})
	if !url.none() {
		c.images = append(c.images, picture{message: len(c.messages), part: span{at, end}, url: url, low: low})
	}
	return end
}

func (c *conversation) call(at int) (found call) {
	found.start = at
	found.end = openai.EachMember(c.body, at, func(name []byte, value int) int {
		switch string(name) {
		case "id":
			c.expect(value, `"`, found.idAt)
			found.idAt = span{value, openai.Skip(c.body, value)}
			found.id = text(found.idAt.in(c.body))
			return found.idAt.end
		case "function":
			return openai.EachMember(c.body, value, func(name []byte, value int) int {
				end := openai.Skip(c.body, value)
				switch string(name) {
				case "name":
					found.name = text(c.body[value:end])
				case "arguments":
					c.expect(value, `"`, found.arguments)
					found.arguments = span{value, end}
				}
				return end
			})
		}
		return openai.Skip(c.body, value)
	})
	c.odd = c.odd || found.idAt.none()
	return found
}

// says reports whether a message is a text that says something.
func (c *conversation) says(m message) bool {
	return !m.content.none() && c.body[m.content.start] == '"' && m.content.end-m.content.start > len(`""`)
}

// hasParts reports whether a message's content is a list with something in it.
func (c *conversation) hasParts(m message) bool {
	return !m.content.none() && c.body[m.content.start] == '[' && len(bytes.Trim(m.content.inside().in(c.body), " \n\t\r")) > 0
}

// text decodes a JSON string. What is no string is empty.
func text(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// quote returns a text as a JSON string.
func quote(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil { // no string makes it fail
		panic(err)
	}
	return string(quoted)
}
