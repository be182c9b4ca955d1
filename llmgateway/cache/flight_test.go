package cache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// At any time a shared generation is on the account of exactly one of those who still wait for it.
func TestWhoLeavesASharedGenerationHasAnHeir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newCache(t), &model{words: []string{"one ", "two ", "three"}, turns: make(chan struct{})}
		var mu sync.Mutex // guards log
		var log []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, what)
		}
		var leave []context.CancelFunc
		for i := range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			leave = append(leave, cancel)
			ctx = llmgateway.WithTrace(ctx, &llmgateway.Trace{
				Cached:    func(use llmgateway.CacheUse) { note(fmt.Sprint(i, " ", use.Result)) },
				Inherited: func() { note(fmt.Sprint(i, " inherits")) },
			})
			go func() {
				_, err := text(c.Generate(ctx, Scope{}, chat(t, "hello", i%2 == 0), m.generate))
				note(fmt.Sprint(i, " ", err))
			}()
			synctest.Wait()
		}
		var steps []string // what each step led to, in the order of the alphabet: several goroutines say it
		step := func(do func()) {
			do()
			synctest.Wait()
			slices.Sort(log)
			steps, log = append(steps, strings.Join(log, ", ")), nil
		}
		turn := func() { m.turns <- struct{}{} }
		step(turn)
		step(leave[2]) // it is on nobody's account but its own
		step(turn)
		step(leave[0])
		step(turn)
		step(leave[1]) // the answer is whole already
		want := []string{"0 miss, 1 shared, 2 shared, 3 shared", "2 context canceled", "", "0 context canceled, 1 inherits", "1 <nil>, 3 <nil>", ""}
		if !slices.Equal(steps, want) {
			t.Errorf("got  %q\nwant %q", steps, want)
		}
		leave[3]()
	})
}

// The goroutine of the first request makes an answer that is not streamed, also when its client has left and others wait.
func TestWholeAnswerIsMadeForThoseWhoStay(t *testing.T) {
	for _, stays := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, ready, asked := newCache(t), make(chan struct{}), 0
			m := &model{words: []string{"whole"}}
			next := func(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
				asked++
				return func(yield func(llmgateway.Event, error) bool) {
					select {
					case <-ready:
						m.generate(ctx, req)(yield)
					case <-ctx.Done():
						yield(llmgateway.Event{}, context.Cause(ctx))
					}
				}
			}
			first, leave := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() {
				if got, err := text(c.Generate(first, Scope{}, chat(t, "hello", false), next)); !errors.Is(err, context.Canceled) {
					t.Errorf("who left got %q, %v", got, err)
				}
			})
			synctest.Wait()
			if stays {
				all.Go(func() {
					if got, err := text(c.Generate(t.Context(), Scope{}, chat(t, "hello", true), next)); got != "whole" || err != nil {
						t.Errorf("who stayed got %q, %v", got, err)
					}
				})
				synctest.Wait()
			}
			leave()
			synctest.Wait()
			if stays {
				close(ready)
			}
			all.Wait() // without anybody who stays it ends by itself
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}
