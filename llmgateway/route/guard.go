package route

import (
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// unpanicked returns the events of a provider that runs in a goroutine of ours: what it panics with would end the gateway there, with
// everybody's answers, and is an error instead.
func unpanicked(events iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		looping, left := false, false // whether the loop over the events runs, or has been left
		defer func() {
			if looping {
				return // it is the loop that panics
			}
			if fear := recover(); fear != nil && !left {
				err := fmt.Errorf("panic: %v\n%s", fear, debug.Stack())
				yield(llmgateway.Event{}, &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider failed", Err: err})
			}
		}()
		for event, err := range events {
			looping = true
			on := yield(event, err)
			looping, left = false, !on
			if !on {
				return
			}
		}
	}
}
