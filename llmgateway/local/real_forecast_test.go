package local

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// TestRealServerTakesAboutAsLongAsExpected compares forecasts with the real llama-server, and sends a request away from it.
func TestRealServerTakesAboutAsLongAsExpected(t *testing.T) {
	e := realEngine(t, nil, Config{NCtx: 8192, NThreads: 1})
	p := &Provider{Engine: e, MaxQueue: 4, MaxWait: time.Hour}
	prompt := func(i, words int) *llmgateway.Request {
		return ask(t, llmgateway.Chat, `{"model":"m","stream":true,"max_tokens":8,"messages":[{"role":"user","content":"%s"}]}`,
			fmt.Sprint(i)+strings.Repeat(" word", words))
	}
	first := func(req *llmgateway.Request) (took time.Duration) {
		t.Helper()
		began := time.Now()
		for event, err := range p.Generate(t.Context(), req) {
			if err != nil {
				t.Fatal(err)
			}
			if event.Carries && took == 0 {
				took = time.Since(began)
			}
		}
		return took
	}
	far := 0
	for i, words := range []int{50, 3000, 800, 2000, 300, 2800, 1200, 2400, 600, 1800} {
		req := prompt(i, words)
		if i < 4 { // to measure
			first(req)
			continue
		}
		guess := foresee(t, e, req)
		took := first(req)
		t.Logf("%4d words: expected %v, took %v", words, guess.Round(time.Millisecond), took.Round(time.Millisecond))
		if guess > 2*took || took > 2*guess {
			far++
		}
	}
	if far > 3 { // other programs may be using the processor
		t.Errorf("%d of 6 forecasts were off by a factor of two", far)
	}
	p.MaxWait = foresee(t, e, prompt(10, 2800)) / 3
	_, err := generate(t.Context(), p, prompt(10, 2800))
	wantOverloaded(t, err, "the local model would need about ")
	if _, err := generate(t.Context(), p, prompt(11, 10)); err != nil {
		t.Errorf("a short prompt: %v", err)
	}
}
