package local

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// wide returns a job of a request for n answers.
func wide(n int) *job { return &job{chat: true, width: n, wish: -1, turn: make(chan struct{})} }

// enter puts a job for one answer into q.
func enter(ctx context.Context, q *queue, maxQueue int) (*job, error) {
	j := wide(1)
	return j, q.enter(ctx, j, limits{maxQueue: maxQueue})
}

func TestQueueIsFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(2, 512)
		var order []int
		var in []*job
		for i := range 8 {
			go func() {
				j, err := enter(t.Context(), q, 6)
				if err != nil {
					t.Errorf("request %d: %v", i, err)
				}
				order = append(order, i)
				in = append(in, j)
			}()
			synctest.Wait()
		}
		if want := []int{0, 1}; !slices.Equal(order, want) {
			t.Errorf("with two slots: got %v, want %v", order, want)
		}
		_, err := enter(t.Context(), q, 6)
		wantOverloaded(t, err, "queue is full")
		if got := q.length(); got != 6 {
			t.Errorf("length: got %d, want 6", got)
		}
		for i := range 6 {
			q.leave(in[i], true)
			synctest.Wait()
		}
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7}; !slices.Equal(order, want) {
			t.Errorf("got %v, want %v", order, want)
		}
	})
}

func TestQueuePassesOverWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, 512)
		first, _ := enter(t.Context(), q, 0)
		left := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			if _, err := enter(ctx, q, 2); !errors.Is(err, left) {
				t.Errorf("got %v, want %v", err, left)
			}
		}()
		synctest.Wait()
		var second *job
		go func() { second, _ = enter(t.Context(), q, 2) }()
		synctest.Wait()
		_, err := enter(t.Context(), q, 2)
		wantOverloaded(t, err, "queue is full")
		cancel(left)
		synctest.Wait()
		if got := q.length(); got != 1 {
			t.Errorf("length: got %d, want 1", got)
		}
		q.leave(first, true)
		synctest.Wait()
		if second == nil {
			t.Fatal("the second in line did not get in")
		}
		q.leave(second, true)
		if _, err := enter(t.Context(), q, 0); err != nil {
			t.Error("a slot was lost")
		}
	})
}

// TestQueueLosesNoSlot lets requests leave just when their turn comes.
func TestQueueLosesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, 512)
		for range 200 {
			holder, err := enter(t.Context(), q, 0)
			if err != nil {
				t.Fatal("a slot was lost")
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if j, err := enter(ctx, q, 1); err == nil {
					q.leave(j, true)
				}
			}()
			synctest.Wait()
			go cancel()
			go q.leave(holder, true)
			synctest.Wait()
		}
		if _, err := enter(t.Context(), q, 0); err != nil {
			t.Error("a slot was lost")
		}
	})
}

func TestWideRequestsKeepTheirPlaceInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(3, 512)
		var mu sync.Mutex // guards order
		var order []string
		jobs := map[string]*job{}
		come := func(ctx context.Context, name string, width int) {
			jobs[name] = wide(width)
			go func() {
				if q.enter(ctx, jobs[name], limits{maxQueue: 10}) == nil {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, name)
				}
			}()
			synctest.Wait()
		}
		check := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(order) // those who are let in at once go in any order
			slices.Sort(want)
			if !slices.Equal(order, want) {
				t.Errorf("%s: got %v, want %v", when, order, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		come(t.Context(), "two", 2)
		come(ctx, "three", 3)
		come(t.Context(), "one", 1)
		come(t.Context(), "pair", 2)
		check("a slot is free, but it is not its turn", "two")
		q.leave(jobs["two"], true)
		check("three are free", "two", "three")
		q.leave(jobs["three"], true)
		check("they are free again", "two", "three", "one", "pair")
		come(ctx, "whole", 3)
		come(t.Context(), "last", 1)
		q.leave(jobs["one"], true)
		check("too few for the first in line", "two", "three", "one", "pair")
		cancel()
		check("the first in line has left", "two", "three", "one", "pair", "last")
		q.leave(jobs["pair"], true)
		q.leave(jobs["last"], true)
		if got := q.table.free(); got != 3 {
			t.Errorf("in the end: got %d free slots, want 3", got)
		}
	})
}

func TestReportShowsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(2, 512)
		first := wide(2)
		if err := q.enter(t.Context(), first, limits{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			go func() { _, _ = enter(ctx, q, 2) }()
			synctest.Wait()
			time.Sleep(2 * time.Second)
		}
		got := q.report(time.Now(), 0)
		if got.Slots != 2 || got.Free != 0 || len(got.Running) != 1 || len(got.Waiting) != 2 || got.LongestWait != 4 || got.ExpectedWait != nil {
			t.Fatalf("got %+v", got)
		}
		if r := got.Running[0]; r.Slots != 2 || r.Age != 5 || r.Position != 0 {
			t.Errorf("running: got %+v", r)
		}
		if w := got.Waiting[1]; w.Slots != 1 || w.Age != 2 || w.Position != 2 {
			t.Errorf("waiting: got %+v", w)
		}
		cancel()
		synctest.Wait()
	})
}

func TestRequestsTakeASlotForEachAnswer(t *testing.T) {
	tests := []struct {
		name, body string
		op         llmgateway.Operation
		width      int // 0: refused
		chat       bool
	}{
		{"one", `{"model":"m","messages":[]}`, llmgateway.Chat, 1, true},
		{"n", `{"model":"m","n":3,"messages":[]}`, llmgateway.Chat, 3, true},
		{"n null", `{"model":"m","n":null,"messages":[]}`, llmgateway.Chat, 1, true},
		{"n of no sense", `{"model":"m","n":-7,"messages":[]}`, llmgateway.Chat, 1, true},
		{"too many", `{"model":"m","n":5,"messages":[]}`, llmgateway.Chat, 0, true},
		{"far too many", `{"model":"m","n":1e300,"messages":[]}`, llmgateway.Chat, 0, true},
		{"a prompt", `{"model":"m","prompt":"a"}`, llmgateway.Completion, 1, true},
		{"a prompt of tokens", `{"model":"m","prompt":[1,2,3]}`, llmgateway.Completion, 1, true},
		{"prompts", `{"model":"m","prompt":["a","b"]}`, llmgateway.Completion, 2, false},
		{"prompts of tokens", `{"model":"m","prompt":[[1],[2],[3]]}`, llmgateway.Completion, 3, false},
		{"prompts with answers", `{"model":"m","n":2,"prompt":["a","b","c"]}`, llmgateway.Completion, 4, false},
		{"inputs", `{"model":"m","input":["a","b"]}`, llmgateway.Embeddings, 2, false},
		{"many inputs", `{"model":"m","n":9,"input":["a","b","c","d","e"]}`, llmgateway.Embeddings, 4, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j, err := newJob(ask(t, test.op, "%s", test.body), 4, false)
			if test.width == 0 {
				if e := llmgateway.AsError(err); err == nil || e.Kind != llmgateway.Unsupported || e.Param != "n" {
					t.Fatalf("got %v, want that it is not supported", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if j.width != test.width || j.chat != test.chat {
				t.Errorf("got %d slots, chat %t; want %d, %t", j.width, j.chat, test.width, test.chat)
			}
		})
	}
}
