package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// sharing returns an engine like that of engine, which takes its memory from b. Its estimate is that of one with a cache
// of no size, and so many MiB more.
func sharing(t *testing.T, b *memory.Budget, mib int, flags ...string) *Engine {
	t.Helper()
	return sharingSlots(t, b, mib, 1, flags...)
}

func sharingSlots(t *testing.T, b *memory.Budget, mib, slots int, flags ...string) *Engine {
	t.Helper()
	e := engine(t, func(c *Config) { c.CacheRAM, c.NParallel = mib, slots }, flags...)
	e.budget = b
	e.timing.service, e.timing.maxService = time.Millisecond, 10*time.Millisecond
	return e
}

// estimate returns how much memory an engine needs.
func estimate(t *testing.T, e *Engine) uint64 {
	t.Helper()
	found, failure := e.files.check(e.key.Config, 0)
	if failure != nil {
		t.Fatal(failure.err)
	}
	return found.bytes
}

// roomFor sets the budget to what the engines need together.
func roomFor(t *testing.T, b *memory.Budget, engines ...*Engine) {
	t.Helper()
	var sum uint64
	for _, e := range engines {
		sum += estimate(t, e)
	}
	b.Limit(sum)
}

// use sends a request through an engine.
func use(t *testing.T, e *Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := generate(ctx, &Provider{Engine: e, MaxQueue: 100}, request(t, "")); err != nil {
		t.Fatal(err)
	}
}

func isState(e *Engine, want llmgateway.State) func() bool {
	return func() bool { return e.Status().State == want }
}

func wantState(t *testing.T, e *Engine, want llmgateway.State) {
	t.Helper()
	if got := e.Status(); got.State != want {
		t.Errorf("got %+v, want %s", got, want)
	}
}

// generation is an answer that has begun.
type generation struct {
	cancel context.CancelFunc
	done   chan error // how it ended
}

// begin begins an answer that takes so long, or until it is cancelled.
func begin(t *testing.T, e *Engine, say string) *generation {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g := &generation{cancel, make(chan error, 1)}
	begun := make(chan struct{})
	go func() {
		var said string
		for event, err := range (&Provider{Engine: e, MaxQueue: 100}).Generate(ctx, request(t, say)) {
			if err != nil {
				g.done <- err
				return
			}
			if said == "" && event.Carries {
				close(begun)
			}
			if event.Carries {
				said += string(event.Data)
			}
		}
		if !strings.Contains(said, `"stop"`) {
			g.done <- fmt.Errorf("the answer is cut: %s", said)
			return
		}
		g.done <- nil
	}()
	select {
	case <-begun:
	case err := <-g.done:
		t.Fatalf("it did not begin: %v", err)
	}
	t.Cleanup(cancel)
	return g
}

func TestModelsThatFitStayLoaded(t *testing.T) {
	log := filepath.Join(t.TempDir(), "starts")
	b := memory.NewBudget(MachineMemory())
	engines := []*Engine{sharing(t, b, 1, "--starts", log), sharing(t, b, 2, "--starts", log), sharing(t, b, 3, "--starts", log)}
	roomFor(t, b, engines...)
	for range 3 {
		for _, e := range engines {
			use(t, e)
		}
	}
	if got := starts(t, log); got != 3 {
		t.Errorf("got %d starts, want 3", got)
	}
	if r := b.Report(); r.UsedBytes != r.MaxBytes || len(r.Claims) != 3 {
		t.Errorf("got %+v, want all of it used", r)
	}
}

func TestLeastRecentlyUsedModelGoesFirst(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	first, second, third := sharing(t, b, 0), sharing(t, b, 0), sharing(t, b, 0)
	roomFor(t, b, first, second)
	use(t, first)
	use(t, second)
	use(t, first)
	kept := pid(first)
	use(t, third)
	wantState(t, second, llmgateway.StateIdle)
	if pid(first) != kept {
		t.Error("the one that was used last went")
	}
}

func TestNoMoreModelsGoThanNeeded(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	small, large, next := sharing(t, b, 0), sharing(t, b, 500), sharing(t, b, 500)
	roomFor(t, b, small, large)
	use(t, small) // it is the least recently used one, but its memory is not enough
	use(t, large)
	use(t, next)
	wantState(t, small, llmgateway.StateReady)
	wantState(t, large, llmgateway.StateIdle)
}

func TestBusyModelFinishesBeforeItMakesRoom(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	old, next := sharingSlots(t, b, 0, 2), sharing(t, b, 0)
	roomFor(t, b, old)
	running := begin(t, old, "200ms")
	child := pid(old)
	waiting := make(chan error, 1)
	go func() {
		_, err := generate(t.Context(), &Provider{Engine: next}, request(t, ""))
		waiting <- err
	}()
	eventually(t, "draining", func() bool { return strings.Contains(old.Status().Detail, "making room") })
	if got := next.Status(); got.State != llmgateway.StateLoading || !strings.Contains(got.Detail, "waiting for memory: it needs about ") {
		t.Errorf("the next one: got %+v, want that it waits for memory", got)
	}
	late := make(chan error, 1)
	go func() { // it has a slot, but is not sent to the server that is about to go
		_, err := generate(t.Context(), &Provider{Engine: old}, request(t, ""))
		late <- err
	}()
	eventually(t, "a request that waits", func() bool { return old.Report().Waiting == 1 })
	if got := old.Report(); got.Running != 1 || got.PID != child {
		t.Errorf("while draining: got %+v", got)
	}
	for name, done := range map[string]chan error{"running": running.done, "waiting": waiting, "late": late} {
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	eventually(t, "the old one in memory again", func() bool { return pid(old) != 0 && pid(old) != child })
}

func TestDrainingIsTakenBackWhenNobodyNeedsTheRoom(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	old, next := sharingSlots(t, b, 0, 2), sharing(t, b, 0)
	roomFor(t, b, old)
	begin(t, old, "wait")
	child := pid(old)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := next.Acquire(ctx)
		left <- err
	}()
	eventually(t, "draining", func() bool { return strings.Contains(old.Status().Detail, "making room") })
	late := make(chan error, 1)
	go func() {
		_, err := generate(t.Context(), &Provider{Engine: old}, request(t, ""))
		late <- err
	}()
	eventually(t, "a request that waits", func() bool { return old.Report().Waiting == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
	if err := <-late; err != nil {
		t.Error(err)
	}
	if pid(old) != child {
		t.Error("it was loaded again")
	}
	eventually(t, "idle", isState(next, llmgateway.StateIdle))
}

func TestTooLargeModelFailsAtOnce(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	small, large := sharing(t, b, 0), sharing(t, b, 3<<10)
	withdraw := b.Limit(1 << 30)
	use(t, small)
	const message = "the model needs about 3."
	_, err := large.Acquire(t.Context())
	wantOverloaded(t, err, message)
	if !strings.Contains(err.Error(), " GiB of memory, and max_memory is 1.0 GiB") {
		t.Errorf("got %v", err)
	}
	if got := large.Status(); got.State != llmgateway.StateFailed || !strings.Contains(got.Detail, message) {
		t.Errorf("got %+v, want failed", got)
	}
	wantState(t, small, llmgateway.StateReady)

	large.timing.recheck = time.Hour // more memory counts at once all the same
	_, err = large.Acquire(t.Context())
	wantOverloaded(t, err, message)
	b.Limit(8 << 30)
	wantState(t, large, llmgateway.StateIdle)
	use(t, large)
	withdraw()
}

func TestLowerLimitUnloadsWhatNobodyUses(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	idle, busy := sharing(t, b, 0), sharing(t, b, 0)
	use(t, idle)
	running := begin(t, busy, "wait")
	child := pid(busy)
	withdraw := b.Limit(1 << 20) // less than either needs
	eventually(t, "the idle one's end", func() bool { return pid(idle) == 0 })
	wantState(t, busy, llmgateway.StateReady)
	if pid(busy) != child {
		t.Error("the busy one was loaded again")
	}
	running.cancel()
	if err := <-running.done; err == nil {
		t.Error("a generation that was given up ended well")
	}
	eventually(t, "the busy one's end", func() bool { return pid(busy) == 0 })
	_, err := busy.Acquire(t.Context())
	wantOverloaded(t, err, "max_memory is 1 MiB")
	withdraw()
	use(t, busy)
}
