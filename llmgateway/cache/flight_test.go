package cache

import (
	"context"
	"fmt"
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
		turn := func() {
			m.turns <- struct{}{}
			synctest.Wait()
		}
		turn()
		leave[2]() // it is on nobody's account but its own
		synctest.Wait()
		turn()
		leave[0]()
		synctest.Wait()
		turn()
		leave[1]() // the answer is whole already
		synctest.Wait()
		want := "[0 miss 1 shared 2 shared 3 shared 2 context canceled 0 context canceled 1 inherits"
		if got := fmt.Sprint(log); got != want+" 1 <nil> 3 <nil>]" && got != want+" 3 <nil> 1 <nil>]" {
			t.Errorf("got  %s\nwant %s ...", got, want)
		}
		leave[3]()
	})
}
