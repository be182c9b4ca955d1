package openai

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// answer yields events of data, and err if there is one.
func answer(err error, data ...string) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for _, d := range data {
			if !yield(llmgateway.Event{Data: []byte(d), Carries: true}, nil) {
				return
			}
		}
		if err != nil {
			yield(llmgateway.Event{}, err)
		}
	}
}

func TestWriteSendsAnAnswerAsItCame(t *testing.T) {
	whole := "{\n \"choices\": [{}],\n \"x\": 1.0 }"
	tests := []struct {
		name   string
		stream bool
		events []string
		want   string
		header http.Header
	}{
		{"whole", false, []string{whole}, whole, http.Header{"Content-Type": {"application/json"}, "Content-Length": {"31"}}},
		{
			"stream", true,
			[]string{textChunk, finishChunk},
			"data: " + textChunk + "\n\ndata: " + finishChunk + "\n\ndata: [DONE]\n\n",
			http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache"}, "X-Accel-Buffering": {"no"}, "Incremental": {"?1"}},
		},
		{
			"stream of events of several lines", true,
			[]string{whole},
			"data: {\ndata:  \"choices\": [{}],\ndata:  \"x\": 1.0 }\n\ndata: [DONE]\n\n", nil,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := Write(w, &llmgateway.Request{ClientStream: test.stream}, answer(nil, test.events...), nil, nil); err != nil {
				t.Fatal(err)
			}
			if got := w.Body.String(); got != test.want || w.Code != http.StatusOK {
				t.Errorf("got %d %q, want %q", w.Code, got, test.want)
			}
			for field := range test.header {
				if got, want := w.Header().Get(field), test.header.Get(field); got != want {
					t.Errorf("%s: got %q, want %q", field, got, want)
				}
			}
		})
	}
}

func TestWriteLeavesAnErrorBeforeTheAnswerToItsCaller(t *testing.T) {
	for name, failed := range map[string]error{"error": &llmgateway.Error{Kind: llmgateway.RateLimited}, "no event at all": nil} {
		for _, stream := range []bool{false, true} {
			w := httptest.NewRecorder()
			w.Code = 0
			err := Write(w, &llmgateway.Request{ClientStream: stream}, answer(failed), nil, nil)
			if _, broken := errors.AsType[*BrokenError](err); err == nil || broken {
				t.Errorf("%s, stream %t: got %v", name, stream, err)
			}
			if w.Code != 0 || w.Body.Len() > 0 || len(w.Header()) > 0 {
				t.Errorf("%s, stream %t: wrote %d, %v, %s", name, stream, w.Code, w.Header(), w.Body)
			}
		}
	}
}

func TestWriteEndsABrokenStreamWithAnErrorAndNoEndMarker(t *testing.T) {
	failed := &llmgateway.Error{Kind: llmgateway.Timeout, Message: "no further token within 1s", Err: errors.New("the cause stays inside")}
	w := httptest.NewRecorder()
	err := Write(w, &llmgateway.Request{ClientStream: true}, answer(failed, textChunk), nil, nil)
	if broken, ok := errors.AsType[*BrokenError](err); !ok || !errors.Is(broken, failed) {
		t.Errorf("got %v, want a broken answer", err)
	}
	want := "data: " + textChunk + "\n\n" + `data: {"error":{"message":"no further token within 1s","type":"server_error","param":null,"code":"timeout"}}` + "\n\n"
	if got := w.Body.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// deadClient fails all writes, or all flushes.
type deadClient struct {
	http.ResponseWriter
	writes, flushes error
}

func (d deadClient) Write(b []byte) (int, error) { return len(b), d.writes }
func (d deadClient) FlushError() error           { return d.flushes }

func TestWriteStopsTheGenerationWhenTheClientLeft(t *testing.T) {
	gone := errors.New("broken pipe")
	for name, client := range map[string]deadClient{
		"on writing":  {httptest.NewRecorder(), gone, nil},
		"on flushing": {httptest.NewRecorder(), nil, gone},
	} {
		t.Run(name, func(t *testing.T) {
			rounds, stopped := 0, false
			err := Write(client, &llmgateway.Request{ClientStream: true}, func(yield func(llmgateway.Event, error) bool) {
				defer func() { stopped = true }()
				for range 100 {
					rounds++
					if !yield(llmgateway.Event{Data: []byte(textChunk), Carries: true}, nil) {
						return
					}
				}
			}, nil, nil)
			if e := llmgateway.AsError(err); e.Kind != llmgateway.Canceled || !errors.Is(err, gone) {
				t.Errorf("got %v, want canceled", err)
			}
			if rounds != 1 || !stopped {
				t.Errorf("got %d events after the client had gone", rounds-1)
			}
		})
	}
}

func TestWriteTellsAClientThatLeftNothing(t *testing.T) {
	w := httptest.NewRecorder()
	err := Write(w, &llmgateway.Request{ClientStream: true}, answer(&llmgateway.Error{Kind: llmgateway.Canceled}, textChunk), nil, nil)
	if err == nil {
		t.Error("got no error")
	}
	if got, want := w.Body.String(), "data: "+textChunk+"\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriteTellsAtTheEndOfAStreamWhatIsKnownOnlyThen(t *testing.T) {
	w := httptest.NewRecorder()
	events := 0
	counted := func(yield func(llmgateway.Event, error) bool) {
		for range 2 {
			events++
			if !yield(llmgateway.Event{Data: []byte(textChunk), Carries: true}, nil) {
				return
			}
		}
	}
	err := Write(w, &llmgateway.Request{ClientStream: true}, counted, nil, func() string { return fmt.Sprintf("events: %d\n\ndata: 1", events) })
	if err != nil {
		t.Fatal(err)
	}
	chunk := "data: " + textChunk + "\n\n"
	if got, want := w.Body.String(), chunk+chunk+": events: 2  data: 1\n\ndata: [DONE]\n\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
