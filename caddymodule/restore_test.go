package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// remote is a provider that can be cut off the network.
type remote struct {
	t       *testing.T
	address string
	server  *http.Server
}

func (r *remote) restore() {
	r.t.Helper()
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.address = l.Addr().String()
	r.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet { // a health check
			return
		}
		well("second")(w, req, 1)
	})}
	go func() { _ = r.server.Serve(l) }()
	r.t.Cleanup(r.cut)
}

func (r *remote) cut() { _ = r.server.Close() }

// Somebody always answers, and the order that was configured comes back by itself.
func TestOrderIsRestoredWhenTheNetworkAndTheQueueAre(t *testing.T) {
	rest, interval := "200ms", "100ms"
	if os.Getenv("LLMGATEWAY_SOAK") != "" {
		rest, interval = "15s", "10s"
	}
	one, two := &remote{t: t, address: "127.0.0.1:0"}, &remote{t: t, address: "127.0.0.1:0"}
	one.restore()
	two.restore()
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		fail_duration %s
		health_interval %s
		provider near llamacpp %q {
			n_ctx 512
			n_parallel 1
			max_queue 1
		}
		provider one openai http://%s/v1
		provider two openai http://%s/v1
		model far {
			to one two near
		}
		model home {
			to near one two
		}
	}`, rest, interval, starterModel(t), one.address, two.address))
	client := g.client("HTTP/2.0")
	by := func(model string) string {
		t.Helper()
		a, err := g.ask(t.Context(), client, chat(model, "hello", false, `"max_tokens":4`))
		if err != nil || a.status != http.StatusOK || a.text() == "" {
			t.Errorf("%s: got %v, %v", model, a, err)
		}
		return a.header.Get("X-LLM-Provider")
	}
	expect := func(model, provider string) {
		t.Helper()
		if got := by(model); got != provider {
			t.Errorf("%s answers for %s, want %s", got, model, provider)
		}
	}
	expect("far", "one")
	expect("home", "near")

	one.cut()
	expect("far", "two")
	two.cut()
	for range 5 {
		expect("far", "near")
	}
	expect("home", "near")

	began := time.Now()
	one.restore()
	two.restore()
	if !eventually(30*time.Second, func() bool { return by("far") == "one" }) {
		t.Fatal("after 30s the first remote provider is not asked again")
	}
	t.Logf("the network's order is restored after %v", time.Since(began).Round(time.Millisecond))

	resume := pause(t, g.server())
	var waiting sync.WaitGroup
	var local atomic.Int64
	for range 2 { // one takes the slot, the other all of the queue
		waiting.Go(func() {
			if a, err := g.ask(t.Context(), client, chat("home", "hello", false, `"max_tokens":4`)); err == nil && a.header.Get("X-LLM-Provider") == "near" {
				local.Add(1)
			}
		})
	}
	await(t, "full queue", func() bool {
		engines := g.engines()
		return len(engines) == 1 && len(engines[0].Queue.Running)+len(engines[0].Queue.Waiting) == 2
	})
	for range 3 {
		expect("home", "one")
	}
	began = time.Now()
	resume()
	waiting.Wait()
	if local.Load() != 2 {
		t.Errorf("%d of 2 requests that waited were answered here", local.Load())
	}
	if !eventually(30*time.Second, func() bool { return by("home") == "near" }) {
		t.Fatal("after 30s the local model is not asked again")
	}
	t.Logf("the queue's order is restored after %v", time.Since(began).Round(time.Millisecond))
	expect("far", "one")
}
