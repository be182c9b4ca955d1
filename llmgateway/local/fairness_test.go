package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

func TestOldModelServesAgainWhenTheNewOneFails(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
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
	b := memory.NewBudget(MachineMemory())
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
	b := memory.NewBudget(MachineMemory())
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

// Engines of several models, clients that leave at any time. What has begun is never cut, and in the end nothing waits.
func TestNothingIsCutWhileModelsComeAndGo(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
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

// A server that dies while it makes room for another model is not started again at once: nobody needs it.
func TestServerThatDiesWhileDrainingStaysAway(t *testing.T) {
	b := memory.NewBudget(MachineMemory())
	log := filepath.Join(t.TempDir(), "starts")
	old, next := sharing(t, b, 0, "--starts", log), sharing(t, b, 0)
	roomFor(t, b, old)
	running := begin(t, old, "wait")
	served := make(chan error, 1)
	go func() {
		_, err := generate(t.Context(), &Provider{Engine: next}, request(t, ""))
		served <- err
	}()
	eventually(t, "draining", func() bool { return strings.Contains(old.Status().Detail, "making room") })
	kill(t, old)
	if err := <-running.done; llmgateway.AsError(err).Message != "the local model server stopped" {
		t.Errorf("got %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	next.KeepAlive(time.Millisecond)
	eventually(t, "an empty memory", func() bool { return len(b.Report().Claims) == 0 })
	if got := starts(t, log); got != 1 {
		t.Errorf("got %d starts, want 1", got)
	}
	use(t, old)
}
