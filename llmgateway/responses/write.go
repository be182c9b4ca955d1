package responses

import (
	"cmp"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Write sends an answer as [openai.Write] does, as a response or as its events. What a target said in the words of this API is
// sent as it came.
func Write(w http.ResponseWriter, req *llmgateway.Request, events iter.Seq2[llmgateway.Event, error], pinger *openai.Pinger, last func() string) error {
	r := newResponse(req)
	form := openai.Form{Named: true, Broken: r.broken}
	events = dialect.TellLeftOut(w, req, events)
	return form.Write(w, req, dialect.Translate(events, r), pinger, last)
}

// response is a response in the making.
type response struct {
	request dialect.Root // the client's
	custom  map[string]bool
	reader  *dialect.Reader
	usage   *llmgateway.Usage
	created int64
	echoes  [][]byte // see echo

	items    [][]byte // that are complete
	events   [][]byte // that have not been taken yet
	sequence int64
	begun    bool
}

func newResponse(req *llmgateway.Request) *response {
	root := dialect.Root{Request: req.Native}
	r := &response{request: root, custom: customTools(root), created: time.Now().Unix()}
	r.reader = dialect.NewReader(r)
	return r
}

// Chunk implements dialect.Translator.
func (r *response) Chunk(event llmgateway.Event) [][]byte {
	r.events = nil
	r.observe(event)
	if event.Carries {
		r.start(event.Data)
	}
	r.reader.Chunk(event.Data)
	return r.events
}

func (r *response) observe(event llmgateway.Event) {
	if event.Usage != nil {
		r.usage = cmp.Or(event.Told, event.Usage)
	}
}

// Finish implements dialect.Translator.
func (r *response) Finish() [][]byte {
	r.events = nil
	r.start(nil)
	r.reader.End()
	status := r.status()
	r.send(append(r.appendTo(append(r.event("response."+status), `,"response":`...), status, nil), '}'))
	return r.events
}

// Whole implements dialect.Translator.
func (r *response) Whole(event llmgateway.Event) []byte {
	r.observe(event)
	r.reader.Whole(event.Data)
	return r.appendTo(nil, r.status(), nil)
}

// start begins the stream, once it is known who answers. The first chunk says under which name.
func (r *response) start(chunk []byte) {
	if r.begun {
		return
	}
	r.begun = true
	r.reader.About(chunk)
	for _, kind := range []string{"response.created", "response.in_progress"} {
		r.send(append(r.appendTo(append(r.event(kind), `,"response":`...), "in_progress", nil), '}'))
	}
}

// broken returns the events that end a stream which broke. Some clients know the one, and some the other.
func (r *response) broken(err *llmgateway.Error) [][]byte {
	r.events = nil
	code := failureCode(err)
	event := append(append(append(r.event("error"), `,"code":"`...), code...), `","message":`...)
	event = append(dialect.AppendQuoted(event, err.Message), `,"param":null}`...)
	r.send(event)
	failure := append(append([]byte(`{"code":"`), code...), `","message":`...)
	failure = append(dialect.AppendQuoted(failure, err.Message), '}')
	r.send(append(r.appendTo(append(r.event("response.failed"), `,"response":`...), "failed", failure), '}'))
	return r.events
}

// failureCode returns what the API calls a failure of a response.
func failureCode(err *llmgateway.Error) string {
	switch err.Kind {
	case llmgateway.RateLimited:
		return "rate_limit_exceeded"
	case llmgateway.ContextLength:
		return "context_length_exceeded"
	case llmgateway.InvalidRequest, llmgateway.Unsupported, llmgateway.ContentFilter:
		return "invalid_prompt"
	default:
		return "server_error"
	}
}

// status returns how the response ended.
func (r *response) status() string {
	switch r.reader.Facts.FinishReason {
	case "length", "content_filter":
		return "incomplete"
	default:
		return "completed"
	}
}

func (r *response) id(prefix string) string {
	if r.reader.Facts.ID == "" {
		r.reader.Facts.ID = dialect.Token()
	}
	return prefix + strings.TrimPrefix(r.reader.Facts.ID, "chatcmpl-")
}

// event begins an event.
func (r *response) event(kind string) []byte {
	b := append(append([]byte(`{"type":"`), kind...), `","sequence_number":`...)
	b = strconv.AppendInt(b, r.sequence, 10)
	r.sequence++
	return b
}

func (r *response) send(event []byte) { r.events = append(r.events, event) }
