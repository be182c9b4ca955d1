package responses

import (
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
)

// Begin implements dialect.Listener.
func (r *response) Begin(b *dialect.Block) {
	event := r.place(r.event("response.output_item.added"), b)
	r.send(append(r.appendItem(append(event, `,"item":`...), b, "in_progress"), '}'))
	if b.Kind != dialect.Called {
		event = r.placePart(r.event("response.content_part.added"), b)
		r.send(append(appendPart(append(event, `,"part":`...), b, ""), '}'))
	}
}

// Add implements dialect.Listener. The input of a custom tool is only known when its argument is whole.
func (r *response) Add(b *dialect.Block, piece string) {
	if b.Kind == dialect.Called && r.custom[b.Name] {
		return
	}
	r.delta(b, piece)
}

// End implements dialect.Listener.
func (r *response) End(b *dialect.Block) {
	status := "completed"
	if r.status() == "incomplete" {
		status = "incomplete"
	}
	said := r.said(b)
	if b.Kind == dialect.Called && said != "" && (r.custom[b.Name] || b.Text() == "") {
		r.delta(b, said)
	}
	kind, member := eventOf(b, r.custom[b.Name])
	event := r.placePart(r.event(kind+".done"), b)
	event = append(append(append(event, `,"`...), member...), `":`...)
	event = dialect.AppendQuoted(event, said)
	if b.Kind == dialect.Said {
		event = append(event, `,"logprobs":[]`...)
	}
	r.send(append(event, '}'))
	if b.Kind != dialect.Called {
		event = r.placePart(r.event("response.content_part.done"), b)
		r.send(append(appendPart(append(event, `,"part":`...), b, said), '}'))
	}
	item := r.appendItem(nil, b, status)
	r.items = append(r.items, item)
	event = r.place(r.event("response.output_item.done"), b)
	r.send(append(append(append(event, `,"item":`...), item...), '}'))
}

// said returns what a block says as a whole. A call without arguments has an empty object of them.
func (r *response) said(b *dialect.Block) string {
	switch {
	case b.Kind == dialect.Called && r.custom[b.Name]:
		return gjson.Get(b.Text(), "input").String()
	case b.Kind == dialect.Called && b.Text() == "":
		return "{}"
	default:
		return b.Text()
	}
}

func (r *response) delta(b *dialect.Block, piece string) {
	kind, _ := eventOf(b, r.custom[b.Name])
	event := r.placePart(r.event(kind+".delta"), b)
	event = dialect.AppendQuoted(append(event, `,"delta":`...), piece)
	if b.Kind == dialect.Said {
		event = append(event, `,"logprobs":[]`...)
	}
	r.send(append(event, '}'))
}

// eventOf returns what a block's events begin with, and the member that has its whole text.
func eventOf(b *dialect.Block, custom bool) (kind, member string) {
	switch {
	case b.Kind == dialect.Thought:
		return "response.reasoning_text", "text"
	case b.Kind == dialect.Refused:
		return "response.refusal", "refusal"
	case b.Kind == dialect.Called && custom:
		return "response.custom_tool_call_input", "input"
	case b.Kind == dialect.Called:
		return "response.function_call_arguments", "arguments"
	default:
		return "response.output_text", "text"
	}
}

// place appends which item an event is about.
func (r *response) place(event []byte, b *dialect.Block) []byte {
	return strconv.AppendInt(append(event, `,"output_index":`...), int64(b.Index), 10)
}

// placePart appends which item an event is about, and which part of it. Calls have no parts.
func (r *response) placePart(event []byte, b *dialect.Block) []byte {
	event = dialect.AppendQuoted(append(event, `,"item_id":`...), r.itemID(b))
	event = r.place(event, b)
	if b.Kind != dialect.Called {
		event = append(event, `,"content_index":0`...)
	}
	return event
}

func (r *response) itemID(b *dialect.Block) string {
	prefix := "msg_"
	switch {
	case b.Kind == dialect.Thought:
		prefix = "rs_"
	case b.Kind == dialect.Called && r.custom[b.Name]:
		prefix = "ctc_"
	case b.Kind == dialect.Called:
		prefix = "fc_"
	}
	return r.id(prefix) + "_" + strconv.Itoa(b.Index)
}

// appendItem appends a block as an item. One in progress says nothing yet.
func (r *response) appendItem(item []byte, b *dialect.Block, status string) []byte {
	begun := status == "in_progress"
	said := ""
	if !begun {
		said = r.said(b)
	}
	item = dialect.AppendQuoted(append(item, `{"id":`...), r.itemID(b))
	item = append(append(append(item, `,"status":"`...), status...), `","type":`...)
	switch b.Kind {
	case dialect.Called:
		kind, member := `"function_call"`, `,"arguments":`
		if r.custom[b.Name] {
			kind, member = `"custom_tool_call"`, `,"input":`
		}
		item = dialect.AppendQuoted(append(append(item, kind...), `,"call_id":`...), b.ID)
		item = dialect.AppendQuoted(append(item, `,"name":`...), b.Name)
		return append(dialect.AppendQuoted(append(item, member...), said), '}')
	case dialect.Thought:
		item = append(item, `"reasoning","summary":[],"encrypted_content":`...)
		if begun {
			item = append(item, "null"...)
		} else {
			item = dialect.AppendQuoted(item, plain+said)
		}
		item = append(item, `,"content":[`...)
	case dialect.Said, dialect.Refused:
		item = append(item, `"message","role":"assistant","content":[`...)
	}
	if !begun {
		item = appendPart(item, b, said)
	}
	return append(item, `]}`...)
}

// appendPart appends the part that says what a block does.
func appendPart(part []byte, b *dialect.Block, said string) []byte {
	switch b.Kind {
	case dialect.Thought:
		part = dialect.AppendQuoted(append(part, `{"type":"reasoning_text","text":`...), said)
	case dialect.Refused:
		part = dialect.AppendQuoted(append(part, `{"type":"refusal","refusal":`...), said)
	case dialect.Said, dialect.Called:
		part = dialect.AppendQuoted(append(part, `{"type":"output_text","text":`...), said)
		part = append(part, `,"annotations":[],"logprobs":[]`...)
	}
	return append(part, '}')
}
