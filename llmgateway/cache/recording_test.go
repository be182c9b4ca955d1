package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// The first passenger of an answer that is not streamed has no wake-ups: it must never wait for one.
func TestWholeAnswerOfAnyShapeEndsForAll(t *testing.T) {
	event := func(data string) llmgateway.Event { return llmgateway.Event{Data: []byte(data), Carries: true} }
	failure := &llmgateway.Error{Kind: llmgateway.Upstream, Message: "broken"}
	for name, events := range map[string]func(yield func(llmgateway.Event, error) bool){
		"nothing":   func(func(llmgateway.Event, error) bool) {},
		"a failure": func(yield func(llmgateway.Event, error) bool) { yield(llmgateway.Event{}, failure) },
		"several":   func(yield func(llmgateway.Event, error) bool) { _ = yield(event("1"), nil) && yield(event("2"), nil) },
		"too many": func(yield func(llmgateway.Event, error) bool) {
			_ = yield(event(strings.Repeat("1", 2000)), nil) && yield(event("2"), nil)
		},
		"half": func(yield func(llmgateway.Event, error) bool) {
			_ = yield(event("1"), nil) && yield(llmgateway.Event{}, failure)
		},
		"empty":        func(yield func(llmgateway.Event, error) bool) { yield(llmgateway.Event{Empty: true}, nil) },
		"it panics":    func(func(llmgateway.Event, error) bool) { panic("broken") },
		"it gives up ": func(yield func(llmgateway.Event, error) bool) { yield(event("1"), nil); panic("broken") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, begin := newCache(t), make(chan struct{})
				c.Policy.MaxAnswerBytes = 1000
				generate := func(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
					return func(yield func(llmgateway.Event, error) bool) {
						<-begin
						events(yield)
					}
				}
				ended := make(chan bool, 3)
				for range 3 {
					go func() {
						defer func() {
							_ = recover()
							ended <- true
						}()
						for _, err := range c.Generate(t.Context(), Scope{}, read(t, `{"model":"m"}`), generate) {
							if err != nil {
								break
							}
						}
					}()
					synctest.Wait()
				}
				close(begin)
				for range 3 {
					select {
					case <-ended:
					case <-time.After(time.Hour):
						t.Fatal("one waits for ever")
					}
				}
			})
		})
	}
}

// Those who read slowly see what was said, while it is recorded further and put into the store.
func TestSlowReadersSeeWhatWasSaid(t *testing.T) {
	const readers = 4
	m := &model{turns: make(chan struct{})}
	for i := range 2000 {
		m.words = append(m.words, fmt.Sprintf("word %d ", i))
	}
	want := strings.Join(m.words, "")
	c := newCache(t)
	c.Policy.MaxAnswerBytes = 1 << 20
	var boarded, done sync.WaitGroup
	boarded.Add(readers)
	ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{Cached: func(llmgateway.CacheUse) { boarded.Done() }})
	for range readers {
		done.Go(func() {
			events := func(yield func(llmgateway.Event, error) bool) {
				var last llmgateway.Event
				for event, err := range c.Generate(ctx, Scope{}, chat(t, "hi", true), m.generate) {
					if last.Data != nil && !yield(last, nil) { // one behind: what was got lasts
						return
					}
					if last = event; err != nil {
						yield(event, err)
						return
					}
				}
				yield(last, nil)
			}
			if got, err := text(events); err != nil || got != want {
				t.Errorf("%v: %d bytes of %d", err, len(got), len(want))
			}
		})
	}
	boarded.Wait()
	close(m.turns)
	done.Wait()
	if got, err := text(c.Generate(t.Context(), Scope{}, chat(t, "hi", true), m.generate)); err != nil || got != want {
		t.Errorf("kept: %v: %d bytes of %d", err, len(got), len(want))
	}
}

// What an earlier version has left in a shared store is a miss.
func TestAnswerOfAnEarlierVersionIsAMiss(t *testing.T) {
	now := binary.AppendVarint([]byte{2}, time.Now().Unix())
	earlier := append(binary.AppendUvarint(now, 1), 1<<1|1, 2, '{', '}') // one event that is whole and carries something
	for size := range len(earlier) + 1 {
		c, m := newCache(t), &model{words: []string{"hi"}}
		req := chat(t, "hi", false)
		c.Store.Put(t.Context(), ownKeys().Of(Scope{}, req), slices.Clip(earlier[:size]), time.Minute)
		var uses []string
		got, err := text(c.Generate(watch(t, &uses), Scope{}, req, m.generate))
		if err != nil || got != "hi" || !slices.Equal(uses, []string{"miss"}) {
			t.Errorf("%d bytes: got %q and %v: %v", size, got, err, uses)
		}
	}
}

// An answer that takes all that may be kept is kept, and one of a byte more is passed on.
func TestAnswerIsKeptUpToItsBound(t *testing.T) {
	size := len(stored(Answer{Events: []llmgateway.Event{{Data: bytes.Repeat([]byte("1"), 1000), Whole: true}}}))
	for most, kept := range map[int]bool{size: true, size - 1: false, 1000: false, 999: false} {
		c, asked := newCache(t), 0
		c.Policy.MaxAnswerBytes = most
		generate := func(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
			return func(yield func(llmgateway.Event, error) bool) {
				asked++
				yield(llmgateway.Event{Data: bytes.Repeat([]byte("1"), 1000), Whole: true}, nil)
			}
		}
		for range 2 {
			for event, err := range c.Generate(t.Context(), Scope{}, read(t, `{"model":"m"}`), generate) {
				if err != nil || len(event.Data) != 1000 {
					t.Errorf("at most %d: %v: %d bytes", most, err, len(event.Data))
				}
			}
		}
		if (asked == 1) != kept {
			t.Errorf("at most %d: asked %d times", most, asked)
		}
	}
}

// Where long strings end is known to some bodies and not to others. The keys are the same.
func TestKeyIsTheSameWhetherLongStringsAreKnown(t *testing.T) {
	for _, n := range []int{0, 500, 510, 511, 512, 4093, 4094, 4095, 4096, 5000, 100000} {
		for _, end := range []string{``, `\"`, `\\`, `\\\"`, `\u0022`, `", "b": "`, `","` + strings.Repeat("k", 5000) + `":"`} {
			req := read(t, `{"model":"m", "a": [ {"x":"`+strings.Repeat("v", n)+end+`"} , "`+strings.Repeat(`\"`, n/2)+`" ] , "z":"`+strings.Repeat("v", n)+`"}`)
			key := ownKeys().Of(Scope{}, req)
			unknown := *req
			unknown.Body = llmgateway.NewBody(req.Body.Bytes)
			if ownKeys().Of(Scope{}, &unknown) != key {
				t.Errorf("another key with strings of %d bytes that end with %.20s", n, end)
			}
			if n >= 4096 && len(req.Body.Long) == 0 {
				t.Errorf("none of %d bytes is known", n)
			}
		}
	}
}
