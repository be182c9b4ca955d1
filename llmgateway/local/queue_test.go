package local

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

func TestQueueIsFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(2)
		var order []int
		for i := range 8 {
			go func() {
				if full, err := q.enter(t.Context(), 6); full || err != nil {
					t.Errorf("request %d: got %t, %v", i, full, err)
				}
				order = append(order, i)
			}()
			synctest.Wait()
		}
		if want := []int{0, 1}; !slices.Equal(order, want) {
			t.Errorf("with two slots: got %v, want %v", order, want)
		}
		if full, _ := q.enter(t.Context(), 6); !full {
			t.Error("a ninth request got in")
		}
		if got := q.length(); got != 6 {
			t.Errorf("length: got %d, want 6", got)
		}
		for range 6 {
			q.leave()
			synctest.Wait()
		}
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7}; !slices.Equal(order, want) {
			t.Errorf("got %v, want %v", order, want)
		}
	})
}

func TestQueuePassesOverWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		_, _ = q.enter(t.Context(), 0)
		left := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			if _, err := q.enter(ctx, 2); !errors.Is(err, left) {
				t.Errorf("got %v, want %v", err, left)
			}
		}()
		synctest.Wait()
		var in bool
		go func() {
			_, _ = q.enter(t.Context(), 2)
			in = true
		}()
		synctest.Wait()
		cancel(left)
		synctest.Wait()
		if got := q.length(); got != 1 {
			t.Errorf("length: got %d, want 1", got)
		}
		q.leave()
		synctest.Wait()
		if !in {
			t.Error("the second in line did not get in")
		}
		q.leave()
		if full, _ := q.enter(t.Context(), 0); full {
			t.Error("a slot was lost")
		}
	})
}

// TestQueueLosesNoSlot lets requests leave just when their turn comes.
func TestQueueLosesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		for range 200 {
			_, _ = q.enter(t.Context(), 0)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if _, err := q.enter(ctx, 1); err == nil {
					q.leave()
				}
			}()
			synctest.Wait()
			go cancel()
			go q.leave()
			synctest.Wait()
		}
		if full, _ := q.enter(t.Context(), 0); full {
			t.Error("a slot was lost")
		}
	})
}
