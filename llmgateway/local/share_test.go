package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// sharing returns an engine like that of engine, which takes its memory from b. Its estimate is that of one with a cache
// of no size, and so many MiB more.
func sharing(t *testing.T, b *Budget, mib int, flags ...string) *Engine {
	t.Helper()
	return sharingSlots(t, b, mib, 1, flags...)
}

func sharingSlots(t *testing.T, b *Budget, mib, slots int, flags ...string) *Engine {
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
func roomFor(t *testing.T, b *Budget, engines ...*Engine) {
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
	b := NewBudget(0)
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
	b := NewBudget(0)
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
	b := NewBudget(0)
	small, large, next := sharing(t, b, 0), sharing(t, b, 500), sharing(t, b, 500)
	roomFor(t, b, small, large)
	use(t, small) // it is the least recently used one, but its memory is not enough
	use(t, large)
	use(t, next)
	wantState(t, small, llmgateway.StateReady)
	wantState(t, large, llmgateway.StateIdle)
}

func TestBusyModelFinishesBeforeItMakesRoom(t *testing.T) {
	b := NewBudget(0)
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

func TestLoadIsGivenUpWhenItsLastClientLeaves(t *testing.T) {
	b := NewBudget(0)
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
	e := sharing(t, NewBudget(0), 0, "--load", "200ms")
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
	e := sharing(t, NewBudget(0), 0, "--load", "200ms")
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
	b := NewBudget(0)
	slow, next := sharing(t, b, 0, "--load", "1h"), sharing(t, b, 0)
	roomFor(t, b, slow)
	slow.Preload()
	eventually(t, "a process", func() bool { return pid(slow) != 0 })
	use(t, next)
	eventually(t, "idle", isState(slow, llmgateway.StateIdle))
}

func TestDrainingIsTakenBackWhenNobodyNeedsTheRoom(t *testing.T) {
	b := NewBudget(0)
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

func TestOldModelServesAgainWhenTheNewOneFails(t *testing.T) {
	b := NewBudget(0)
	old, bad := sharing(t, b, 0), sharing(t, b, 0, "--load", "50ms", "--starts", filepath.Join(t.TempDir(), "starts"), "--failing", "99")
	roomFor(t, b, old)
	use(t, old)
	failed := make(chan error, 1)
	go func() {
		_, err := bad.Acquire(t.Context())
		failed <- err
	}()
	eventually(t, "the old one's end", func() bool { return pid(old) == 0 })
	use(t, old) // it waits until the new one has failed
	wantOverloaded(t, <-failed, "stopped while loading (exit status 1)")
	wantState(t, bad, llmgateway.StateFailed)
	child := pid(old)
	_, err := bad.Acquire(t.Context())
	wantOverloaded(t, err, "stopped while loading")
	use(t, old)
	if pid(old) != child {
		t.Error("the failed one displaced the old one again")
	}
	// After the cool-down it may.
	bad.mu.Lock()
	bad.retryAt = time.Now()
	bad.mu.Unlock()
	_, err = bad.Acquire(t.Context())
	wantOverloaded(t, err, "stopped while loading")
	if pid(old) == child {
		t.Error("after the cool-down, nobody made room")
	}
	use(t, old)
}

// A model that is loaded in vain does not get a second chance at the cost of the one that came in between.
func TestFailedModelYieldsToWhoeverWaits(t *testing.T) {
	b := NewBudget(0)
	log := filepath.Join(t.TempDir(), "starts")
	old, bad := sharing(t, b, 0), sharing(t, b, 0, "--load", "50ms", "--starts", log, "--failing", "99")
	roomFor(t, b, old)
	use(t, old)
	failed := make(chan error, 1)
	go func() {
		_, err := bad.Acquire(t.Context())
		failed <- err
	}()
	eventually(t, "a start", func() bool { return starts(t, log) == 1 })
	begin(t, old, "wait")
	wantOverloaded(t, <-failed, "stopped while loading (exit status 1)")
	if got := starts(t, log); got != 1 {
		t.Errorf("got %d starts, want 1", got)
	}
}

// Two models that do not fit together are asked all the time. Both get on, and loading is not all that happens.
func TestModelsTakeTurns(t *testing.T) {
	b := NewBudget(0)
	log := filepath.Join(t.TempDir(), "starts")
	engines := []*Engine{
		sharingSlots(t, b, 0, 2, "--load", "20ms", "--starts", log), sharingSlots(t, b, 0, 2, "--load", "20ms", "--starts", log),
		sharingSlots(t, b, 0, 2, "--load", "20ms", "--starts", log),
	}
	roomFor(t, b, engines[0])
	const each, clients = 30, 4
	var wg sync.WaitGroup
	for _, e := range engines {
		e.timing.maxService = time.Second
		p := &Provider{Engine: e, MaxQueue: clients}
		for range clients {
			wg.Go(func() {
				for range each {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					if _, err := generate(ctx, p, request(t, "1ms")); err != nil {
						t.Errorf("%v; %+v", err, b.Report())
					}
					cancel()
				}
			})
		}
	}
	wg.Wait()
	n := starts(t, log)
	t.Logf("%d loads for %d requests", n, len(engines)*each*clients)
	if n > len(engines)*each*clients/2 {
		t.Error("hardly anything was served between two loads")
	}
}

func TestTooLargeModelFailsAtOnce(t *testing.T) {
	b := NewBudget(0)
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
	b := NewBudget(0)
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
	<-running.done
	eventually(t, "the busy one's end", func() bool { return pid(busy) == 0 })
	_, err := busy.Acquire(t.Context())
	wantOverloaded(t, err, "max_memory is 1 MiB")
	withdraw()
	use(t, busy)
}

func TestPreloadsLoadInOrderAsFarAsTheyFit(t *testing.T) {
	b := NewBudget(0)
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
	b := NewBudget(0)
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
	b := NewBudget(0)
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

// Engines of several models, clients that leave at any time. What has begun is never cut, and in the end nothing waits.
func TestNothingIsCutWhileModelsComeAndGo(t *testing.T) {
	b := NewBudget(0)
	var engines []*Engine
	for i := range 4 {
		engines = append(engines, sharingSlots(t, b, 50*i, 2, "--load", fmt.Sprintf("%dms", 5*i)))
	}
	roomFor(t, b, engines[0], engines[3])
	var over atomic.Bool
	stop := make(chan struct{})
	var sampler, clients sync.WaitGroup
	sampler.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				if r := b.Report(); r.UsedBytes > r.MaxBytes {
					over.Store(true)
				}
			}
		}
	})
	var answered, left atomic.Int64
	for i := range 12 {
		clients.Go(func() {
			for j := range 15 {
				e := engines[(i+j*j)%len(engines)]
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				if (i+j)%3 == 0 {
					time.AfterFunc(time.Duration((i*j)%40)*time.Millisecond, cancel)
				}
				said, err := generate(ctx, &Provider{Engine: e, MaxQueue: 100}, request(t, "2ms"))
				switch {
				case err == nil && strings.Contains(said, `"stop"`):
					answered.Add(1)
				case errors.Is(ctx.Err(), context.Canceled):
					left.Add(1)
				default:
					t.Errorf("got %q, %v", said, err)
				}
				cancel()
			}
		})
	}
	clients.Wait()
	close(stop)
	sampler.Wait()
	t.Logf("%d answered, %d left", answered.Load(), left.Load())
	if over.Load() {
		t.Error("more memory was used than there is")
	}
}
