package anthropic

import (
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// send appends an event.
func (m *message) send(event []byte) { m.events = append(m.events, event) }

// Begin implements dialect.Listener.
func (m *message) Begin(b *dialect.Block) {
	event := strconv.AppendInt([]byte(`{"type":"content_block_start","index":`), int64(b.Index), 10)
	event = append(event, `,"content_block":`...)
	switch b.Kind {
	case dialect.Thought:
		event = append(event, `{"type":"thinking","thinking":"","signature":""}`...)
	case dialect.Called:
		event = append(appendCall(event, b), `,"input":{}}`...)
	case dialect.Said, dialect.Refused:
		event = append(event, `{"type":"text","text":""}`...)
	}
	m.send(append(event, '}'))
}

// appendCall appends the beginning of a call.
func appendCall(b []byte, call *dialect.Block) []byte {
	b = dialect.AppendQuoted(append(b, `{"type":"tool_use","id":`...), call.ID)
	return dialect.AppendQuoted(append(b, `,"name":`...), call.Name)
}

// Add implements dialect.Listener.
func (m *message) Add(b *dialect.Block, piece string) {
	event := strconv.AppendInt([]byte(`{"type":"content_block_delta","index":`), int64(b.Index), 10)
	event = append(event, `,"delta":{"type":`...)
	switch b.Kind {
	case dialect.Thought:
		event = append(event, `"thinking_delta","thinking":`...)
	case dialect.Called:
		event = append(event, `"input_json_delta","partial_json":`...)
	case dialect.Said, dialect.Refused:
		event = append(event, `"text_delta","text":`...)
	}
	m.send(append(dialect.AppendQuoted(event, piece), `}}`...))
}

// End implements dialect.Listener.
func (m *message) End(b *dialect.Block) {
	event := strconv.AppendInt([]byte(`{"type":"content_block_stop","index":`), int64(b.Index), 10)
	m.send(append(event, '}'))
}

// whole collects the blocks of a message that is not streamed.
type whole struct{ content []byte }

// Begin implements dialect.Listener.
func (w *whole) Begin(*dialect.Block) {}

// Add implements dialect.Listener.
func (w *whole) Add(*dialect.Block, string) {}

// End implements dialect.Listener.
func (w *whole) End(b *dialect.Block) {
	if len(w.content) > 0 {
		w.content = append(w.content, ',')
	}
	switch b.Kind {
	case dialect.Thought:
		w.content = dialect.AppendQuoted(append(w.content, `{"type":"thinking","thinking":`...), b.Text())
		w.content = append(w.content, `,"signature":""`...)
	case dialect.Called:
		w.content = append(append(appendCall(w.content, b), `,"input":`...), input(b.Text())...)
	case dialect.Said, dialect.Refused:
		w.content = dialect.AppendQuoted(append(w.content, `{"type":"text","text":`...), b.Text())
	}
	w.content = append(w.content, '}')
}

// input returns a call's arguments as an object. What is none, such as one that was cut, is shown to the tool as a text, so that
// the model learns from its complaint.
func input(arguments string) []byte {
	if arguments == "" {
		return []byte("{}")
	}
	object, err := openai.ParseObject([]byte(arguments))
	if err != nil {
		return append(dialect.AppendQuoted([]byte(`{"unparsed_arguments":`), arguments), '}')
	}
	return object
}
