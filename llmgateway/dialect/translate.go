package dialect

import (
	"iter"
	"net/http"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// A Translator says one chat's answer in the words of another API.
type Translator interface {
	// Chunk returns the events for a chunk of a stream.
	Chunk(event llmgateway.Event) [][]byte
	// Finish returns the events that end a stream.
	Finish() [][]byte
	// Whole returns the answer for one that is whole.
	Whole(event llmgateway.Event) []byte
}

// LeftOutField names what a translation has left out of a request.
const LeftOutField = "X-Llm-Left-Out"

// TellLeftOut sets [LeftOutField] with the first event, if the request lacks what the client has offered.
func TellLeftOut(w http.ResponseWriter, req *llmgateway.Request, events iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	if len(req.LeftOut) == 0 {
		return events
	}
	return func(yield func(llmgateway.Event, error) bool) {
		first := true
		for event, err := range events {
			if first && err == nil && !event.Native {
				w.Header()[LeftOutField] = []string{oneLine(strings.Join(req.LeftOut, ", "))}
			}
			first = false
			if !yield(event, err) {
				return
			}
		}
	}
}

// oneLine drops what must not stand in a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// Translate translates an answer. What is native already passes.
func Translate(answer iter.Seq2[llmgateway.Event, error], t Translator) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		streamed := false
		for event, err := range answer {
			switch {
			case err != nil, event.Native:
				if !yield(event, err) {
					return
				}
			case event.Whole:
				event.Data = t.Whole(event)
				if !yield(event, nil) {
					return
				}
			default:
				streamed = true
				if !pass(t.Chunk(event), event.More, yield) {
					return
				}
			}
			if err != nil {
				return
			}
		}
		if streamed {
			pass(t.Finish(), false, yield)
		}
	}
}

// pass yields events that follow each other at once. Without any, those before are sent at least, unless more is at hand.
func pass(events [][]byte, more bool, yield func(llmgateway.Event, error) bool) bool {
	for i, data := range events {
		if !yield(llmgateway.Event{Data: data, Carries: true, More: more || i+1 < len(events)}, nil) {
			return false
		}
	}
	if len(events) == 0 && !more {
		return yield(llmgateway.Event{}, nil)
	}
	return true
}
