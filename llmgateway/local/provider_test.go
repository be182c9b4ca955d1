package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// generate runs a request to its end and returns what was said.
func generate(ctx context.Context, p llmgateway.Provider, req *llmgateway.Request) (string, error) {
	var said strings.Builder
	for event, err := range p.Generate(ctx, req) {
		if err != nil {
			return said.String(), err
		}
		if event.Carries {
			said.Write(event.Data)
		}
	}
	return said.String(), nil
}

func TestProviderAnswersUnderTheModelsName(t *testing.T) {
	p := &Provider{Engine: engine(t, nil)}
	said, err := generate(t.Context(), p, request(t, ""))
	if err != nil || !strings.Contains(said, `"content":"fake-model"`) {
		t.Errorf("got %q, %v", said, err)
	}
	if got, want := p.ModelInfo(), (llmgateway.ModelInfo{Name: "fake-model", Context: 4096, Tools: true, Prefill: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestProviderRefusesWhenTheQueueIsFull(t *testing.T) {
	p := &Provider{Engine: engine(t, func(c *Config) { c.NParallel = 2 }), MaxQueue: 3}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			_, err := generate(ctx, p, request(t, "wait"))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want canceled", err)
			}
		})
	}
	eventually(t, "a full queue", func() bool { return p.Engine.Waiting() == 3 })
	_, err := generate(t.Context(), p, request(t, ""))
	wantOverloaded(t, err, "queue is full")
	cancel()
	wg.Wait()
	if _, err := generate(t.Context(), p, request(t, "")); err != nil {
		t.Errorf("after the others left: %v", err)
	}
}

func TestLeavingTheLoopFreesTheSlot(t *testing.T) {
	p := &Provider{Engine: engine(t, nil)}
	for range 3 {
		for event, err := range p.Generate(t.Context(), request(t, "wait")) {
			if err != nil {
				t.Fatal(err)
			}
			if event.Carries {
				break
			}
		}
	}
}

func TestCrashInARequestIsReportedAndRepaired(t *testing.T) {
	p := &Provider{Engine: engine(t, nil)}
	for range 5 { // more often than a server may crash that answers nothing in between
		_, err := generate(t.Context(), p, request(t, "die"))
		if e := llmgateway.AsError(err); e == nil || e.Kind != llmgateway.Upstream || e.Message != "the local model server stopped" {
			t.Fatalf("got %v, want that the server stopped", err)
		}
		if _, err := generate(t.Context(), p, request(t, "")); err != nil {
			t.Fatalf("after the crash: %v", err)
		}
	}
}

func TestServerThatCrashesOnEveryRequestFails(t *testing.T) {
	p := &Provider{Engine: engine(t, nil, "--crash")}
	var last error
	for range 4 {
		if _, last = generate(t.Context(), p, request(t, "")); last == nil {
			t.Fatal("got an answer")
		}
	}
	wantOverloaded(t, last, "the local model server stopped (exit status 3)")
}

// TestRequestsReachTheNextServer sends requests to a server that is being killed. They must not notice.
func TestRequestsReachTheNextServer(t *testing.T) {
	e := engine(t, nil)
	p := &Provider{Engine: e}
	for range 10 {
		if _, err := generate(t.Context(), p, request(t, "")); err != nil {
			t.Fatal(err)
		}
		kill(t, e)
	}
}

func TestLostSocketIsReplaced(t *testing.T) {
	e := engine(t, nil)
	p := &Provider{Engine: e}
	lease := acquire(t, e)
	if err := os.Remove(lease.server.socket); err != nil {
		t.Fatal(err)
	}
	if _, err := generate(t.Context(), p, request(t, "")); err != nil {
		t.Error(err)
	}
}

func TestReloadKeepsGenerations(t *testing.T) {
	e := engine(t, nil)
	p := &Provider{Engine: e}
	var said string
	destruct := sync.OnceValue(e.Destruct)
	for event, err := range p.Generate(t.Context(), request(t, "100ms")) {
		if err != nil {
			t.Fatal(err)
		}
		_ = destruct()
		said += string(event.Data)
	}
	if !strings.Contains(said, `"stop"`) {
		t.Errorf("got %q, want the whole answer", said)
	}
	gone(t, e)
	e.shared = NewShared(func() {}) // for the cleanup
}

func TestWaitingRequestsHoldTheEngine(t *testing.T) {
	e := engine(t, nil)
	p := &Provider{Engine: e, MaxQueue: 1}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = generate(ctx, p, request(t, "wait")) })
	eventually(t, "a request that runs", func() bool { return e.Status().State == llmgateway.StateReady })
	wg.Go(func() {
		if _, err := generate(t.Context(), p, request(t, "")); err != nil {
			t.Errorf("the request that waited: %v", err)
		}
	})
	eventually(t, "a request that waits", func() bool { return e.Waiting() == 1 })
	_ = e.Destruct()
	cancel()
	wg.Wait()
	gone(t, e)
	_, err := generate(t.Context(), p, request(t, ""))
	if !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: got %v, want %v", err, ErrClosed)
	}
	e.shared = NewShared(func() {}) // for the cleanup
}

func TestWaitingForALoadEndsWithTheRequest(t *testing.T) {
	p := &Provider{Engine: engine(t, nil, "--load", "1h")}
	late := errors.New("first token timeout")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		eventually(t, "loading", func() bool { return pid(p.Engine) != 0 })
		cancel(late)
	}()
	if _, err := generate(ctx, p, request(t, "")); !errors.Is(err, late) {
		t.Errorf("got %v, want %v", err, late)
	}
}

func TestSharedIsFreedOnceByTheLast(t *testing.T) {
	freed := 0
	s := NewShared(func() { freed++ })
	var wg sync.WaitGroup
	for range 100 {
		release, err := s.Acquire()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			release()
			release()
		})
	}
	if err := s.Destruct(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if freed != 1 {
		t.Errorf("freed %d times", freed)
	}
	if _, err := s.Acquire(); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
}

func ExampleConfig_Name() {
	fmt.Println(Config{ModelPath: "/models/Qwen2.5-VL-7B-Q4_K_M-00001-of-00002.gguf"}.Name())
	// Output: Qwen2.5-VL-7B-Q4_K_M
}
