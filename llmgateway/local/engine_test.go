package local

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// acquire gets a lease that is released with the test.
func acquire(t *testing.T, e *Engine) *Lease {
	t.Helper()
	lease, err := e.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Release)
	return lease
}

// starts returns how often a fake server was started.
func starts(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(data)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

func wantOverloaded(t *testing.T, err error, message string) {
	t.Helper()
	e, ok := errors.AsType[*llmgateway.Error](err)
	if !ok || e.Kind != llmgateway.Overloaded || !strings.Contains(e.Message, message) {
		t.Fatalf("got %#v, want Overloaded with %q", err, message)
	}
}

func TestEngineStartsOnceForManyWaiters(t *testing.T) {
	log := filepath.Join(t.TempDir(), "starts")
	e := engine(t, nil, "--starts", log, "--load", "100ms")
	if got := e.Status().State; got != llmgateway.StateIdle {
		t.Errorf("before the first request: got %s, want idle", got)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			lease, err := e.Acquire(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			lease.Release()
		})
	}
	eventually(t, "loading", func() bool { return e.Status().State == llmgateway.StateLoading })
	wg.Wait()
	if got := e.Status().State; got != llmgateway.StateReady {
		t.Errorf("after loading: got %s, want ready", got)
	}
	if got := starts(t, log); got != 1 {
		t.Errorf("got %d starts, want 1", got)
	}
}

func TestLoadingGoesOnWhenTheWaiterLeaves(t *testing.T) {
	e := engine(t, nil, "--load", "1s")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := e.Acquire(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a deadline", err)
	}
	eventually(t, "ready", func() bool { return e.Status().State == llmgateway.StateReady })
}

func TestPreloadLoadsWithoutARequest(t *testing.T) {
	e := engine(t, nil)
	e.Preload()
	eventually(t, "ready", func() bool { return e.Status().State == llmgateway.StateReady })
}

func TestEngineRestartsAfterACrash(t *testing.T) {
	e := engine(t, nil)
	acquire(t, e)
	first := pid(e)
	kill(t, e)
	eventually(t, "another process", func() bool { return pid(e) != first && e.Status().State == llmgateway.StateReady })
	acquire(t, e)
}

func TestEngineTriesAgainWithBackoff(t *testing.T) {
	log := filepath.Join(t.TempDir(), "starts")
	e := engine(t, nil, "--starts", log, "--failing", "2")
	acquire(t, e)
	if got := starts(t, log); got != 3 {
		t.Errorf("got %d starts, want 3", got)
	}
}

func TestEngineFailsAfterSeveralTriesAndRecovers(t *testing.T) {
	log := filepath.Join(t.TempDir(), "starts")
	e := engine(t, nil, "--starts", log, "--failing", "3")
	_, err := e.Acquire(t.Context())
	wantOverloaded(t, err, "stopped while loading (exit status 1)")
	if e := llmgateway.AsError(err); e.RetryAfter <= 0 {
		t.Errorf("got RetryAfter %v, want one", e.RetryAfter)
	}
	e.mu.Lock()
	lines := strings.Join(e.failure.lines, "\n")
	e.mu.Unlock()
	if !strings.Contains(lines, "load_model: failed to load the fake") {
		t.Errorf("last lines: got %q", lines)
	}
	if got := e.Status(); got.State != llmgateway.StateFailed || !strings.Contains(got.Detail, "exit status 1") {
		t.Errorf("got %+v, want failed", got)
	}
	_, err = e.Acquire(t.Context())
	wantOverloaded(t, err, "stopped while loading")
	if got := starts(t, log); got != 3 {
		t.Errorf("while cooling down: got %d starts, want 3", got)
	}

	e.mu.Lock()
	e.retryAt = time.Now()
	e.mu.Unlock()
	if got := e.Status().State; !got.Live() {
		t.Errorf("after the cool-down: got %s, want something live", got)
	}
	acquire(t, e)
	if got := e.Status().State; got != llmgateway.StateReady {
		t.Errorf("after the cool-down: got %s, want ready", got)
	}
}

func TestDelaysGrowAndAreForgiven(t *testing.T) {
	e := NewEngine(Config{ModelPath: "m.gguf"}.Key(), memory.NewBudget(MachineMemory()), discard)
	e.failure = newFailure("test", nil)
	type step struct {
		wasReady, proven bool
		delay            time.Duration
		more             bool
	}
	for i, want := range []step{
		{true, true, 0, true},
		{false, false, time.Second, true},
		{false, false, 30 * time.Second, false},
		{false, false, time.Minute, false},
		{true, false, 2 * time.Minute, false},
		{false, false, 4 * time.Minute, false},
		{false, false, 5 * time.Minute, false},
		{true, true, 0, true},
	} {
		delay, more := e.fail(want.wasReady, want.proven)
		if delay != want.delay || more != want.more {
			t.Errorf("failure %d: got %v %t, want %v %t", i+1, delay, more, want.delay, want.more)
		}
	}
}

func TestMissingFilesAreReportedAtOnce(t *testing.T) {
	half := filepath.Join(t.TempDir(), "half.gguf")
	if err := os.Rename(modelFile(t), half); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(half, 60); err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(t.TempDir(), "junk.gguf")
	if err := os.WriteFile(junk, []byte("<html>not found</html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*Config)
		detail string
	}{
		{"no server", func(c *Config) { c.Binary = "/nowhere/llama-server" }, "llama-server was not found"},
		{"no model", func(c *Config) { c.ModelPath = "/nowhere/m.gguf" }, "the model file m.gguf is missing"},
		{"no GGUF", func(c *Config) { c.ModelPath = junk }, "the model file junk.gguf is no usable GGUF file"},
		{"half a model", func(c *Config) { c.ModelPath = half }, "the model file half.gguf is incomplete; was its download interrupted?"},
		{"no projector", func(c *Config) { c.MMProj = "/nowhere/mm.gguf" }, "the vision projector mm.gguf is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := engine(t, test.change)
			if got := e.Status(); got.State != llmgateway.StateFailed || got.Detail != test.detail {
				t.Errorf("before: got %+v, want failed, %s", got, test.detail)
			}
			_, err := e.Acquire(t.Context())
			wantOverloaded(t, err, test.detail)
			if got := e.Status(); got.State != llmgateway.StateFailed || got.Detail != test.detail {
				t.Errorf("after: got %+v, want failed, %s", got, test.detail)
			}
		})
	}
}

func TestAModelThatArrivesLaterIsLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "late.gguf")
	e := engine(t, func(c *Config) { c.ModelPath = path })
	_, err := e.Acquire(t.Context())
	wantOverloaded(t, err, "late.gguf is missing")
	if err := os.Rename(modelFile(t), path); err != nil {
		t.Fatal(err)
	}
	acquire(t, e)
}

func TestDestructWaitsForLeasesButDoesNotBlock(t *testing.T) {
	e := engine(t, nil)
	lease := acquire(t, e)
	child := pid(e)
	if err := e.Destruct(); err != nil {
		t.Fatal(err)
	}
	// The cleanup of engine would let go a second time.
	e.shared.refs.Add(1)
	select {
	case <-e.Done():
		t.Fatal("the engine ended under a lease")
	case <-time.After(50 * time.Millisecond):
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatalf("the server ended under a lease: %v", err)
	}
	_ = e.Destruct()
	lease.Release()
	lease.Release()
	gone(t, e)
	if err := syscall.Kill(child, 0); err == nil {
		t.Error("the server is still there")
	}
	_, err := e.Acquire(t.Context())
	wantOverloaded(t, err, "unloaded")
	e.shared.refs.Add(1)
	e.shared.free = func() {}
}

func TestDestructEndsALoad(t *testing.T) {
	e := engine(t, nil, "--load", "1h")
	e.Preload()
	eventually(t, "a process", func() bool { return pid(e) != 0 })
}

func TestStubbornServerIsKilled(t *testing.T) {
	e := engine(t, nil, "--stubborn")
	e.timing.patience = 50 * time.Millisecond
	acquire(t, e)
}

func TestIdleEngineUnloadsAndComesBack(t *testing.T) {
	log := filepath.Join(t.TempDir(), "starts")
	e := engine(t, nil, "--starts", log)
	e.KeepAlive(20 * time.Millisecond)
	lease := acquire(t, e)
	time.Sleep(60 * time.Millisecond)
	if got := e.Status().State; got != llmgateway.StateReady {
		t.Errorf("with a lease: got %s, want ready", got)
	}
	lease.Release()
	eventually(t, "idle", func() bool { return e.Status().State == llmgateway.StateIdle })
	acquire(t, e)
	if got := starts(t, log); got != 2 {
		t.Errorf("got %d starts, want 2", got)
	}
}

func TestLongestKeepAliveCounts(t *testing.T) {
	e := NewEngine(Config{ModelPath: "m.gguf"}.Key(), memory.NewBudget(MachineMemory()), discard)
	want := func(d time.Duration) {
		t.Helper()
		e.mu.Lock()
		defer e.mu.Unlock()
		if got := e.keepAlive(); got != d {
			t.Errorf("got %v, want %v", got, d)
		}
	}
	want(0)
	e.KeepAlive(time.Minute)
	withdrawHour := e.KeepAlive(time.Hour)
	want(time.Hour)
	withdrawKeep := e.KeepAlive(0)
	want(0)
	withdrawKeep()
	want(time.Hour)
	withdrawHour()
	withdrawHour()
	want(time.Minute)
}

func TestChildKnowsNoKeys(t *testing.T) {
	for name, value := range map[string]string{
		"OPENROUTER_API_KEY": "sk-1", "NVIDIA_API_KEY": "sk-2", "HF_TOKEN": "sk-3", "LLAMA_ARG_CTX_SIZE": "1", "LLAMA_API_KEY": "sk-4",
		"DATABASE_URL": "postgres://u:sk-5@db", "CUDA_VISIBLE_DEVICES": "0",
	} {
		t.Setenv(name, value)
	}
	e := engine(t, nil)
	lease := acquire(t, e)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://llama/env", nil)
	resp, err := lease.server.transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var env []string
	if err := json.NewDecoder(resp.Body).Decode(&env); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(env, "\n")
	if strings.Contains(all, "sk-") || strings.Contains(all, "LLAMA_") {
		t.Errorf("the child's environment holds secrets or settings: %q", all)
	}
	for _, want := range []string{"PATH=", "CUDA_VISIBLE_DEVICES=0"} {
		if !strings.Contains(all, want) {
			t.Errorf("the child's environment lacks %s: %q", want, all)
		}
	}
}
