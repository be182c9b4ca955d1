package openai

import (
	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// bytesPerToken is for answers that nobody has counted.
const bytesPerToken = 4

// Meter finds out what a provider uses for an answer while its events pass. The zero value has seen none.
type Meter struct {
	events int
	told   *llmgateway.Usage
	whole  int // bytes of text in an answer that did not come as a stream
	chunks int // of a stream, with something in them
	bytes  int // of the chunks
	least  int // bytes of the shortest chunk: what each has besides its text
}

// Observe takes in an event.
func (m *Meter) Observe(event *llmgateway.Event) {
	m.events++
	if event.Usage != nil && *event.Usage != (llmgateway.Usage{}) {
		m.told = event.Usage
	}
	switch {
	case event.Whole:
		if m.told == nil {
			m.whole += textBytes(event.Data)
		}
	case event.Carries && event.FinishReason == "":
		if m.chunks == 0 || len(event.Data) < m.least {
			m.least = len(event.Data)
		}
		m.chunks++
		m.bytes += len(event.Data)
	}
}

// Began reports whether anything has come.
func (m *Meter) Began() bool { return m.events > 0 }

// Used returns what the provider counted, if it told, or else a guess at the tokens of the answer as far as it came. Most
// servers send a chunk for each token.
func (m *Meter) Used() (used llmgateway.Usage, told bool) {
	switch {
	case m.told != nil:
		return *m.told, true
	case m.whole > 0:
		return llmgateway.Usage{CompletionTokens: m.whole / bytesPerToken}, false
	default:
		return llmgateway.Usage{CompletionTokens: max(m.chunks, (m.bytes-m.chunks*m.least)/bytesPerToken)}, false
	}
}

// textBytes returns how much text there is in a whole answer.
func textBytes(answer []byte) (n int) {
	gjson.GetBytes(answer, "choices").ForEach(func(_, choice gjson.Result) bool {
		n += len(choice.Get("text").Str)
		choice.Get("message").ForEach(func(name, value gjson.Result) bool {
			if name.Str == "tool_calls" {
				n += len(value.Raw)
			} else if name.Str != "role" {
				n += len(value.Str)
			}
			return true
		})
		return true
	})
	return n
}

// failed adds to an error what was used until then, if anything has come.
func (m *Meter) failed(err error) error {
	if !m.Began() {
		return err
	}
	used, _ := m.Used()
	return begun(err, used)
}

// begun returns the error of a provider that had begun to work.
func begun(err error, used llmgateway.Usage) error {
	e := *llmgateway.AsError(err)
	e.Used = &used
	return &e
}
