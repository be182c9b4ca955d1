package caddymodule

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestSecondTargetIsAskedWhileTheFirstIsSilent(t *testing.T) {
	gone := make(chan struct{}, 10)
	silent := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		wantsStream(r)
		select {
		case <-r.Context().Done():
			gone <- struct{}{}
		case <-time.After(20 * time.Second):
		}
	})
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		hedge_after 100ms
		hedge_budget 100%%
		provider first openai %s
		provider second openai %s
		model m {
			to first/first-model second/second-model
		}
	}`, silent, playing(t, well("second"), new(atomic.Int64))))
	for _, streamed := range []bool{true, false} {
		for _, protocol := range protocols {
			t.Run(fmt.Sprintf("%s stream=%v", protocol, streamed), func(t *testing.T) {
				began := time.Now()
				got := g.bear(t, g.client(protocol), chat("m", "hello", streamed), streamed)
				if got.text != wordsOf("second", 1, allWords) || got.error != "" || got.by != "second" || got.header.Get("X-LLM-Attempts") != "2" {
					t.Errorf("got %q, %s, %v", got.text, got.error, got.header)
				}
				if took := time.Since(began); took < 100*time.Millisecond || took > 5*time.Second {
					t.Errorf("took %v", took)
				}
				select {
				case <-gone:
				case <-time.After(5 * time.Second):
					t.Error("the first goes on")
				}
			})
		}
	}
}

// A local model that is slow to load would never be loaded if whoever is faster ended it.
func TestLoadThatWasOutrunGoesOn(t *testing.T) {
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		hedge_after 1ms
		hedge_budget 100%%
		provider near llamacpp %s {
			n_ctx 512
		}
		provider second openai %s
		model m {
			to near second/second-model
		}
	}`, starterModel(t), playing(t, well("second"), new(atomic.Int64))))
	got := g.bear(t, g.client("HTTP/2.0"), chat("m", "hello", true), true)
	if got.text != wordsOf("second", 1, allWords) || got.error != "" {
		t.Fatalf("got %q, %s", got.text, got.error)
	}
	await(t, "loaded model", func() bool {
		engines := g.engines()
		return len(engines) == 1 && engines[0].State == "ready"
	})
}
