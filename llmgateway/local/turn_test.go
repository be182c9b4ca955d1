package local

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

func TestLoadIsGivenUpWhenItsLastClientLeaves(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	e := sharing(t, b, 0, "--load", "1h")
	p := &Provider{Engine: e, MaxQueue: 10}
	ctx, cancel := context.WithCancel(t.Context())
	others, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = generate(ctx, p, request(t, "")) })
	eventually(t, "a process", func() bool { return pid(e) != 0 })
	wg.Go(func() { _, _ = generate(others, p, request(t, "")) })
	eventually(t, "one in the queue", func() bool { return e.Waiting() == 1 })
	child := pid(e)
	cancel()
	eventually(t, "one that has left", func() bool { return e.Report().Waiting == 1 })
	time.Sleep(20 * time.Millisecond)
	if pid(e) != child {
		t.Fatal("the load ended although somebody waits in the queue")
	}
	leave()
	wg.Wait()
	eventually(t, "the end of the process", func() bool { return syscall.Kill(child, 0) != nil })
	eventually(t, "free memory", func() bool { return len(b.Report().Claims) == 0 })
	wantState(t, e, llmgateway.StateIdle)
}

// errLookElsewhere ends an attempt as a router does.
var errLookElsewhere = &llmgateway.Error{Kind: llmgateway.Timeout, Message: "no first token within 1s"}

func TestLoadGoesOnWhenTheRouterLooksElsewhere(t *testing.T) {
	e := sharing(t, memory.NewBudget(MachineMemory()), 0, "--load", "200ms")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		eventually(t, "loading", func() bool { return pid(e) != 0 })
		cancel(errLookElsewhere)
	}()
	_, err := generate(ctx, &Provider{Engine: e}, request(t, ""))
	if !errors.Is(err, errLookElsewhere) {
		t.Fatalf("got %v, want %v", err, errLookElsewhere)
	}
	eventually(t, "ready", isState(e, llmgateway.StateReady))
}

// A client that leaves after another request was sent elsewhere does not end the load that the other one began.
func TestLoadThatGoesOnOutlivesClients(t *testing.T) {
	e := sharing(t, memory.NewBudget(MachineMemory()), 0, "--load", "200ms")
	elsewhere, look := context.WithCancelCause(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, ctx := range []context.Context{elsewhere, ctx} {
		wg.Go(func() { _, _ = e.Acquire(ctx) })
	}
	eventually(t, "two that wait", func() bool { return e.Report().Waiting == 2 })
	look(errLookElsewhere)
	eventually(t, "one that waits", func() bool { return e.Report().Waiting == 1 })
	cancel()
	wg.Wait()
	eventually(t, "ready", isState(e, llmgateway.StateReady))
}

func TestLoadThatNobodyWaitsForMakesRoom(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	slow, next := sharing(t, b, 0, "--load", "1h"), sharing(t, b, 0)
	roomFor(t, b, slow)
	slow.Preload()
	eventually(t, "a process", func() bool { return pid(slow) != 0 })
	use(t, next)
	eventually(t, "idle", isState(slow, llmgateway.StateIdle))
}

func TestPreloadsLoadInOrderAsFarAsTheyFit(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	first, second, third, fourth := sharing(t, b, 100), sharing(t, b, 300), sharing(t, b, 200), sharing(t, b, 0)
	roomFor(t, b, first, third)
	for _, e := range []*Engine{first, second, third, fourth} {
		e.Preload()
	}
	eventually(t, "the first and the third", func() bool {
		return isState(first, llmgateway.StateReady)() && isState(third, llmgateway.StateReady)()
	})
	for _, e := range []*Engine{second, fourth} {
		eventually(t, "what does not fit", func() bool { return strings.HasPrefix(e.Status().Detail, "not preloaded, waiting for memory") })
		wantState(t, e, llmgateway.StateIdle)
	}
	// A request makes others go.
	use(t, second)
	wantState(t, second, llmgateway.StateReady)
}

func TestPreloadWaitsForTheOldEnginesMemory(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	old, changed := sharing(t, b, 0), sharing(t, b, 0)
	roomFor(t, b, old)
	running := begin(t, old, "100ms")
	changed.Preload() // as the next configuration does
	time.Sleep(20 * time.Millisecond)
	_ = old.Destruct() // as the old one does afterwards
	if err := <-running.done; err != nil {
		t.Error(err)
	}
	eventually(t, "the new one", isState(changed, llmgateway.StateReady))
	gone(t, old)
	old.shared = NewShared(func() {}) // for the cleanup
}

func TestEngineThatWaitsForMemoryCanBeLetGo(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	busy, waiting := sharing(t, b, 0), sharing(t, b, 0)
	roomFor(t, b, busy)
	begin(t, busy, "wait")
	waiting.Preload()
	eventually(t, "waiting", func() bool { return len(b.Report().Claims) == 2 })
	_ = waiting.Destruct()
	gone(t, waiting)
	waiting.shared = NewShared(func() {}) // for the cleanup
	if r := b.Report(); len(r.Claims) != 1 {
		t.Errorf("got %+v, want one claim", r)
	}
}

// A request that is refused at once has not waited, and keeps no load going.
func TestRefusedRequestKeepsNoLoad(t *testing.T) {
	e := sharing(t, memory.NewBudget(MachineMemory()), 0, "--load", "1h")
	p := &Provider{Engine: e}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = generate(ctx, p, request(t, "")) })
	eventually(t, "a process", func() bool { return pid(e) != 0 })
	_, err := generate(t.Context(), p, request(t, ""))
	wantOverloaded(t, err, "queue is full")
	cancel()
	wg.Wait()
	eventually(t, "the end of the load", func() bool { return pid(e) == 0 })
}
