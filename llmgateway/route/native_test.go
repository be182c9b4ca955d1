package route

import (
	"context"
	"iter"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// polyglot speaks one API besides chat's, and tells in which it was asked.
type polyglot struct{ op llmgateway.Operation }

func (p polyglot) Speaks(op llmgateway.Operation) bool { return op == p.op }

func (p polyglot) Generate(_ context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		yield(llmgateway.Event{Data: []byte(req.Operation), Carries: true, Whole: true}, nil)
	}
}

// changed is an exchange that changes nothing.
type changed struct{ llmgateway.Exchange }

func TestARequestIsNativeWhereItCanBe(t *testing.T) {
	body := llmgateway.NewBody([]byte(`{}`))
	native := &llmgateway.Request{Operation: llmgateway.Messages, Body: body}
	tests := []struct {
		name   string
		speaks llmgateway.Operation
		req    llmgateway.Request
		want   bool
	}{
		{"a chat", llmgateway.Messages, llmgateway.Request{}, false},
		{"the API that is spoken", llmgateway.Messages, llmgateway.Request{Native: native}, true},
		{"another API", llmgateway.Responses, llmgateway.Request{Native: native}, false},
		{"what an adapter has changed", llmgateway.Messages, llmgateway.Request{Native: native, Exchange: changed{}}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target := &Target{Name: "p", Provider: polyglot{test.speaks}, Model: "m"}
			test.req.Model, test.req.Operation, test.req.Body = "m", llmgateway.Chat, body
			if got := target.native(target.Provider, &test.req) != nil; got != test.want {
				t.Errorf("got native %v, want %v", got, test.want)
			}
			table := &Table{Models: map[string]*Router{"m": {Targets: []*Target{target}}}}
			if got := table.TakesNative(&test.req); got != test.want {
				t.Errorf("got that the table takes it %v, want %v", got, test.want)
			}
		})
	}
}
