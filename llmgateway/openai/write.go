package openai

import (
	"bytes"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Write sends an answer: as server-sent events if the client asked for a stream, else as one JSON object. A pinger, which
// may be nil, is stopped before anything else is sent. What is only known at the end of a stream, last says in a comment
// before the end marker; it may be nil, and may say nothing.
//
// An error before the first event is returned, and nothing has been written. An error after it, or after a ping, ends the
// stream with an error event in place of the end marker and is returned in a [BrokenError]; so is the client's leaving.
//
// A header field [ResumedField] that is set while the stream is sent is told in a comment at its end.
func Write(w http.ResponseWriter, req *llmgateway.Request, events iter.Seq2[llmgateway.Event, error], pinger *Pinger, last func() string) error {
	if req.ClientStream && !req.ClientUsage {
		events = withoutUsage(events)
	}
	form := Form{End: "data: [DONE]\n\n", Broken: func(e *llmgateway.Error) [][]byte { return [][]byte{ErrorBody(e)} }}
	return form.Write(w, req, events, pinger, last)
}

// withoutUsage leaves out the events that are there for a stream's usage only.
func withoutUsage(events iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for event, err := range events {
			if err == nil && onlyUsage(event) {
				continue
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// Form is how an API frames its answers.
type Form struct {
	// Named is true if each event of a stream is named after its member "type".
	Named bool
	// End ends a whole stream.
	End string
	// Broken returns the events that end a stream which broke.
	Broken func(*llmgateway.Error) [][]byte
	// Error returns an error that takes the place of a whole answer whose header has been sent. Nil means [ErrorBody].
	Error func(*llmgateway.Error) []byte
}

// Write sends an answer as [Write] does, in another form. An event without data only makes sure that those before it are
// sent.
func (f *Form) Write(w http.ResponseWriter, req *llmgateway.Request, events iter.Seq2[llmgateway.Event, error], pinger *Pinger, last func() string) error {
	defer pinger.Stop()
	if !req.ClientStream {
		return f.writeWhole(w, events, pinger)
	}
	buf := eventBuffers.Get().(*[eventBuffer]byte)
	defer eventBuffers.Put(buf)
	s := stream{form: f, w: w, flusher: http.NewResponseController(w), pinger: pinger, pending: buf[:0]}
	for event, err := range events {
		if err != nil {
			return s.fail(err)
		}
		if err := s.send(event.Data, !event.More); err != nil {
			return &BrokenError{Err: &llmgateway.Error{Kind: llmgateway.Canceled, Message: "the client closed the stream", Err: err}}
		}
	}
	if !s.begun {
		return s.fail(nothingInIt())
	}
	s.pending = append(s.pending, s.resumed()...)
	if last != nil {
		if comment := last(); comment != "" {
			s.pending = append(s.pending, ": "+oneLine.Replace(comment)+"\n\n"...)
		}
	}
	s.pending = append(s.pending, f.End...)
	_, _ = w.Write(s.pending)
	return nil
}

// onlyUsage reports whether an event is the last chunk of a stream, which is there for its usage only.
func onlyUsage(event llmgateway.Event) bool {
	return event.Usage != nil && event.FinishReason == "" && gjson.GetBytes(event.Data, "choices.#").Int() == 0
}

// A BrokenError is an error that came after the status 200 had been sent.
type BrokenError struct {
	Err error
	// Empty is true if nothing of the answer had been sent, only pings.
	Empty bool
}

func (e *BrokenError) Error() string { return "broken answer: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *BrokenError) Unwrap() error { return e.Err }

func (f *Form) writeWhole(w http.ResponseWriter, events iter.Seq2[llmgateway.Event, error], pinger *Pinger) error {
	empty := true
	for event, err := range events {
		began := pinger.Began()
		if err != nil {
			return f.failWhole(w, err, began)
		}
		empty = false
		if !began {
			w.Header().Set("Content-Length", strconv.Itoa(len(event.Data)))
			beginWhole(w)
		}
		if _, err := w.Write(event.Data); err != nil {
			return &BrokenError{Err: &llmgateway.Error{Kind: llmgateway.Canceled, Message: "the client closed the connection", Err: err}}
		}
	}
	if empty {
		return f.failWhole(w, nothingInIt(), pinger.Began())
	}
	return nil
}

// beginWhole sends the status and the header of a whole answer.
func beginWhole(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
}

// failWhole sends the error in place of the answer if the header has been sent. Otherwise it is the caller's.
func (f *Form) failWhole(w http.ResponseWriter, err error, began bool) error {
	if !began {
		return err
	}
	if e := llmgateway.AsError(err); e.Kind != llmgateway.Canceled {
		body := ErrorBody
		if f.Error != nil {
			body = f.Error
		}
		_, _ = w.Write(body(e))
	}
	return &BrokenError{Err: err, Empty: true}
}

// stream writes server-sent events.
type stream struct {
	form    *Form
	w       http.ResponseWriter
	flusher *http.ResponseController
	pinger  *Pinger
	begun   bool   // an event has come
	pending []byte // events to be written together
}

// maxPending is how much is written together at most, but for the event that reaches it.
const maxPending = eventBuffer

func (s *stream) send(data []byte, flush bool) error {
	if !s.begun {
		s.begin()
	}
	s.frame(data)
	if !flush && len(s.pending) < maxPending {
		return nil
	}
	_, err := s.w.Write(s.pending)
	s.pending = s.pending[:0]
	if err != nil || !flush {
		return err
	}
	return s.flusher.Flush()
}

// frame appends an event to what is pending.
func (s *stream) frame(data []byte) {
	if len(data) == 0 {
		return
	}
	if s.form.Named {
		s.pending = append(append(s.pending, "event: "...), oneLine.Replace(gjson.GetBytes(data, "type").Str)...)
		s.pending = append(s.pending, '\n')
	}
	s.pending = append(s.pending, "data: "...)
	if bytes.IndexByte(data, '\n') >= 0 {
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\ndata: "))
	}
	s.pending = append(append(s.pending, data...), "\n\n"...)
}

// begin sends the header, unless a ping has: then it tells what has become known since.
func (s *stream) begin() {
	s.begun = true
	if s.pinger.Began() {
		s.pending = append(s.pending, s.pinger.late()...)
		return
	}
	beginStream(s.w)
}

// beginStream sends the status and the header of a stream.
func beginStream(w http.ResponseWriter) {
	h := w.Header()
	// Set before the status, so that `encode` sends the header at once and flushes with us.
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx buffers otherwise
	h.Set("Incremental", "?1")       // RFC 10036: whoever forwards this is not to buffer it
	w.WriteHeader(http.StatusOK)
}

// ResumedField names who finished an answer that broke, as provider/model.
const ResumedField = "X-Llm-Resumed"

// resumed returns a comment that says who finished the answer, or nothing.
func (s *stream) resumed() string {
	by := s.w.Header()[ResumedField]
	if len(by) == 0 {
		return ""
	}
	return ": " + ResumedField + ": " + oneLine.Replace(by[0]) + "\n\n"
}

// fail ends the stream. If nothing has been sent there is none yet, and the error is the caller's.
func (s *stream) fail(err error) error {
	empty := !s.begun
	if empty && !s.pinger.Began() {
		return err
	}
	e := llmgateway.AsError(err)
	s.pending = append(s.pending, s.resumed()...)
	if e.Kind != llmgateway.Canceled {
		for _, data := range s.form.Broken(e) {
			_ = s.send(data, true)
		}
	}
	return &BrokenError{Err: err, Empty: empty}
}

// WriteError answers a request that failed with OpenAI's error object.
func WriteError(w http.ResponseWriter, err error) {
	e := llmgateway.AsError(err)
	WriteErrorBody(w, e, ErrorBody(e))
}

// WriteErrorBody answers a request that failed with an error object of the caller's.
func WriteErrorBody(w http.ResponseWriter, e *llmgateway.Error, body []byte) {
	h := w.Header()
	if e.RetryAfter > 0 {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		h.Set("Retry-After", fmt.Sprint(int64(seconds)))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(Status(e))
	_, _ = w.Write(body)
}
