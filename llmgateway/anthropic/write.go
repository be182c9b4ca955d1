package anthropic

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Write sends an answer as [openai.Write] does, as a message or as its events. What a target said in Anthropic's words is sent
// as it came.
func Write(w http.ResponseWriter, req *llmgateway.Request, events iter.Seq2[llmgateway.Event, error], pinger *openai.Pinger, last func() string) error {
	form := openai.Form{
		Named: true, Error: ErrorBody,
		Broken: func(e *llmgateway.Error) [][]byte { return [][]byte{ErrorBody(e)} },
	}
	events = dialect.TellLeftOut(w, req, events)
	return form.Write(w, req, dialect.Translate(events, newMessage(req)), pinger, last)
}

func newMessage(req *llmgateway.Request) *message {
	m := &message{req: req}
	m.reader = dialect.NewReader(m)
	return m
}

// message is a message in the making.
type message struct {
	req    *llmgateway.Request
	reader *dialect.Reader
	usage  *llmgateway.Usage

	events [][]byte // that have not been taken yet
	begun  bool
}

// Chunk implements dialect.Translator.
func (m *message) Chunk(event llmgateway.Event) [][]byte {
	m.observe(event)
	m.events = nil
	m.reader.Chunk(event.Data)
	if event.Carries || len(m.events) > 0 {
		m.start()
	}
	return m.events
}

func (m *message) observe(event llmgateway.Event) {
	if event.Usage != nil {
		m.usage = cmp.Or(event.Told, event.Usage)
	}
}

// Finish implements dialect.Translator.
func (m *message) Finish() [][]byte {
	m.events = nil
	m.reader.End()
	m.start()
	b := m.appendStop([]byte(`{"type":"message_delta","delta":{`))
	b = m.appendUsage(append(b, `},"usage":`...))
	m.send(append(b, '}'))
	m.send([]byte(`{"type":"message_stop"}`))
	return m.events
}

// Whole implements dialect.Translator.
func (m *message) Whole(event llmgateway.Event) []byte {
	m.observe(event)
	blocks := &whole{}
	m.reader = dialect.NewReader(blocks)
	m.reader.Whole(event.Data)
	b := m.appendHead(nil)
	b = append(append(b, `"content":[`...), blocks.content...)
	b = m.appendStop(append(b, `],`...))
	b = m.appendUsage(append(b, `,"usage":`...))
	return append(b, '}')
}

// start begins the stream, once it is known who answers. How long the prompt is cannot be known yet; what is told is estimated,
// and put right at the end.
func (m *message) start() {
	if m.begun {
		return
	}
	m.begun = true
	b := m.appendHead([]byte(`{"type":"message_start","message":`))
	b = append(b, `"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":`...)
	b = strconv.AppendInt(b, int64(openai.PromptTokens(m.req)), 10)
	m.events = slices.Insert(m.events, 0, append(b, `,"output_tokens":0}}}`...))
}

func (m *message) appendHead(b []byte) []byte {
	id := m.reader.Facts.ID
	if id == "" {
		id = dialect.Token()
	}
	b = dialect.AppendQuoted(append(b, `{"id":`...), "msg_"+strings.TrimPrefix(id, "chatcmpl-"))
	b = append(b, `,"type":"message","role":"assistant","model":`...)
	return append(dialect.AppendQuoted(b, m.reader.Facts.Model), ',')
}

// appendStop appends why the answer ended. Most servers do not tell a stop sequence from the model's own end.
func (m *message) appendStop(b []byte) []byte {
	facts := m.reader.Facts
	reason, sequence := "end_turn", []byte("null")
	switch {
	case facts.FinishReason == "length":
		reason = "max_tokens"
	case facts.FinishReason == "content_filter":
		reason = "refusal"
	case facts.Calls:
		reason = "tool_use"
	case facts.StopSequence != "" && m.stopsAt(facts.StopSequence):
		reason, sequence = "stop_sequence", dialect.Quote(facts.StopSequence)
	}
	b = append(append(append(b, `"stop_reason":"`...), reason...), `","stop_sequence":`...)
	return append(b, sequence...)
}

// stopsAt reports whether the client has named the stop sequence.
func (m *message) stopsAt(sequence string) bool {
	stops, ok := m.req.Native.Lookup("stop_sequences")
	if !ok {
		return false
	}
	return slices.ContainsFunc(slices.Collect(openai.Value(m.req.Native.Raw(stops)).Elements()), func(v openai.Value) bool {
		return v.Text() == sequence
	})
}

// appendUsage appends the usage. Unlike chat's, the prompt's does not count what a cache held.
func (m *message) appendUsage(b []byte) []byte {
	usage := m.usage
	if usage == nil {
		usage = new(llmgateway.Usage)
	}
	b = strconv.AppendInt(append(b, `{"input_tokens":`...), int64(max(0, usage.PromptTokens-usage.CachedTokens)), 10)
	b = strconv.AppendInt(append(b, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":`...), int64(usage.CachedTokens), 10)
	b = strconv.AppendInt(append(b, `,"output_tokens":`...), int64(usage.CompletionTokens), 10)
	return append(b, '}')
}
