package bytebot

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/bytebot/replay"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// pipes is a net.Listener without a network, whose connections a fake clock works for.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func newPipes() *pipes {
	return &pipes{connections: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.IPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.connections <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// TestModelThatTakesMinutesFinishesItsTask has a model that takes six minutes for each answer, and an agent that gives up when
// nothing comes for five. The clock is a fake one.
func TestModelThatTakesMinutesFinishesItsTask(t *testing.T) {
	const (
		turns = 12
		slow  = 6 * time.Minute
	)
	for _, tt := range []struct {
		name    string
		padding time.Duration
		want    replay.Status
	}{
		{"with white space", 20 * time.Second, replay.Completed},
		{"without", time.Hour, replay.Failed}, // or else this test shows nothing
	} {
		t.Run(tt.name, func(t *testing.T) {
			adapter := newAdapter(t, Config{})
			synctest.Test(t, func(t *testing.T) {
				answered := 0
				ask := func(ctx context.Context, _ *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
					return func(yield func(llmgateway.Event, error) bool) {
						select {
						case <-time.After(slow):
						case <-ctx.Done():
							yield(llmgateway.Event{}, context.Cause(ctx))
							return
						}
						if answered++; answered < turns {
							yield(whole(calling(fmt.Sprintf("c%d", answered), "computer_type_keys", fmt.Sprintf(`{"keys":["F%d"]}`, answered), 10)), nil)
							return
						}
						yield(whole(calling("last", "set_task_status", `{"status":"completed","description":"Done."}`, 10)), nil)
					}
				}
				listener := newPipes()
				server := &http.Server{Handler: gateway{adapter, ask, tt.padding}, ReadHeaderTimeout: time.Minute}
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = server.Serve(listener)
				}()
				transport := &http.Transport{DialContext: listener.dial}
				agent := &replay.Agent{URL: "http://gateway", Client: &http.Client{Transport: transport}, Model: "m", MaxTurns: 2 * turns, Desktop: new(replay.Desktop)}
				began := time.Now()
				got := agent.Start("Press some keys.").Run(t.Context())
				if got.Status != tt.want {
					t.Errorf("got %+v", got)
				}
				if took := time.Since(began); got.Status == replay.Completed && took != turns*slow {
					t.Errorf("took %v", took)
				}
				transport.CloseIdleConnections()
				_ = server.Close()
				<-done
			})
		})
	}
}

func whole(answer string) llmgateway.Event {
	return llmgateway.Event{Data: []byte(answer), Carries: true, Whole: true, FinishReason: "tool_calls"}
}

// gateway is what the handler makes of an adapter and a pinger.
type gateway struct {
	adapter *Adapter
	ask     llmgateway.Generate
	padding time.Duration
}

// ServeHTTP implements http.Handler.
func (g gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := llmgateway.ReadBody(r.Body, r.ContentLength, 1<<30)
	if err != nil {
		return
	}
	req, err := openai.Read(llmgateway.Chat, body)
	if err == nil {
		req, err = g.adapter.Adapt(r.Context(), req)
	}
	if err != nil {
		openai.WriteError(w, err)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	pinger := openai.StartPadding(w, g.padding, 15*time.Second, cancel)
	events := req.Exchange.Answer(ctx, req, func(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return req.Exchange.Attempt(ctx, llmgateway.Destination{}, req, g.ask)
	})
	_ = openai.Write(w, req, events, pinger, nil)
}
