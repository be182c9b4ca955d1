package route

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// script is a provider that does one thing after the other. Each call gets the next script of a list, and the last again.
//
// A string is an event with that text; if it begins with ~ the event carries nothing. A usage is one, too. A duration is silence, an error the
// end. A func is called with the request. canceled waits until the call is canceled and ends with an error of its own.
type script struct {
	calls [][]any

	mu       sync.Mutex
	requests []llmgateway.Request
	stopped  int // calls whose loop was left or canceled before their end
}

// does returns a provider that does the same at every call.
func does(steps ...any) *script { return &script{calls: [][]any{steps}} }

// then adds what it does at the next call.
func (s *script) then(steps ...any) *script {
	s.calls = append(s.calls, steps)
	return s
}

func (s *script) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		s.mu.Lock()
		s.requests = append(s.requests, *req)
		steps := s.calls[min(len(s.requests), len(s.calls))-1]
		s.mu.Unlock()
		if !perform(ctx, req, steps, yield) {
			s.mu.Lock()
			s.stopped++
			s.mu.Unlock()
		}
	}
}

// perform reports whether it came to its end.
func perform(ctx context.Context, req *llmgateway.Request, steps []any, yield func(llmgateway.Event, error) bool) bool {
	var buf []byte // events do not last, as with a real provider
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			event := event(step)
			buf = append(buf[:0], event.Data...)
			event.Data = buf
			if !yield(event, nil) {
				return false
			}
			for i := range buf {
				buf[i] = '!'
			}
		case time.Duration:
			select {
			case <-time.After(step):
			case <-ctx.Done():
				yield(llmgateway.Event{}, ctx.Err())
				return false
			}
		case llmgateway.Usage:
			if !yield(llmgateway.Event{Data: []byte(`{"choices":[]}`), Usage: &step}, nil) {
				return false
			}
		case error:
			yield(llmgateway.Event{}, step)
			return true
		case canceled:
			<-ctx.Done()
			yield(llmgateway.Event{}, step.err)
			return false
		case func(*llmgateway.Request):
			step(req)
		}
	}
	return true
}

type canceled struct{ err error }

// event makes a chunk of what a script says. Texts that look like JSON are taken as they are.
func event(text string) llmgateway.Event {
	text, silent := strings.CutPrefix(text, "~")
	e := llmgateway.Event{Carries: !silent, Empty: silent, Data: []byte(text)}
	switch {
	case silent:
		e.Data = []byte(`{"said":"` + text + `","choices":[{"index":0,"delta":{"role":"assistant"}}]}`)
	case strings.HasPrefix(text, "{"):
		e.FinishReason = gjson.Get(text, "choices.0.finish_reason").Str
	default:
		e.Data = []byte(`{"said":"` + text + `","choices":[{"index":0,"delta":{"content":"` + text + `"}}]}`)
	}
	return e
}

// ended returns a text that is all of an answer, for a script.
func ended(text string) string {
	return `{"said":"` + text + `","choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":"stop"}]}`
}

// asked returns how often the provider was asked.
func (s *script) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// named makes a target of a provider.
func named(name string, p llmgateway.Provider) *Target { return &Target{Name: name, Provider: p} }

// fails returns an error of a kind.
func fails(kind llmgateway.Kind) error {
	return &llmgateway.Error{Kind: kind, Message: "it is " + string(kind)}
}

// outcome is what a client got, and what was tried for it.
type outcome struct {
	text  string // of all events, with a space between
	whole bool   // the one event was a whole answer
	err   *llmgateway.Error
	tried []string // providers that failed and how
	by    string   // the provider that answered
	took  time.Duration
}

// ask asks p and collects what comes.
func ask(ctx context.Context, p llmgateway.Provider, req *llmgateway.Request) outcome {
	var o outcome
	began := time.Now()
	ctx = llmgateway.WithTrace(ctx, &llmgateway.Trace{
		Tried: func(a llmgateway.Attempt) {
			o.tried = append(o.tried, a.Provider+" "+string(llmgateway.AsError(a.Err).Kind))
		},
		Answering: func(a llmgateway.Attempt) { o.by = a.Provider },
	})
	var texts []string
	for event, err := range p.Generate(ctx, req) {
		if err != nil {
			o.err = llmgateway.AsError(err)
			continue
		}
		texts = append(texts, say(event))
		o.whole = event.Whole
	}
	o.text, o.took = strings.Join(texts, " "), time.Since(began)
	return o
}

// say returns the text of an event.
func say(event llmgateway.Event) string {
	member := `"said":"`
	if event.Whole {
		member = `"content":"`
	}
	_, rest, ok := strings.Cut(string(event.Data), member)
	if !ok {
		return string(event.Data)
	}
	text, _, _ := strings.Cut(rest, `"`)
	return text
}

// check compares an outcome with what is wanted: text and providers tried, comma-separated, and the error's kind.
func (o outcome) check(t *testing.T, text, tried string, kind llmgateway.Kind) {
	t.Helper()
	if o.text != text {
		t.Errorf("got the text %q, want %q", o.text, text)
	}
	if got := strings.Join(o.tried, ", "); got != tried {
		t.Errorf("tried %q, want %q", got, tried)
	}
	if got := o.kind(); got != kind {
		t.Errorf("got the error %q (%v), want %q", got, o.err, kind)
	}
}

func (o outcome) kind() llmgateway.Kind {
	if o.err == nil {
		return ""
	}
	return o.err.Kind
}

// chat returns a request for a stream.
func chat(model string) *llmgateway.Request {
	return &llmgateway.Request{
		Operation: llmgateway.Chat, Model: model, Stream: true, ClientStream: true,
		Body: llmgateway.NewBody([]byte(`{}`)),
	}
}

var errBoom = errors.New("boom")
