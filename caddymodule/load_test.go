package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// loadSite returns the i-th of many configurations. They differ in what may change without anybody noticing.
func loadSite(t *testing.T, i int, url string) string {
	t.Helper()
	variants := []struct{ near, far, more, around string }{
		{},
		{more: "first_token_timeout 1m\nstream_idle_timeout 1m"},
		{near: fmt.Sprint("max_queue ", 50+i), around: "encode gzip"},
		{far: "transport http {\nkeepalive_idle_conns 2\n}"},
		{near: fmt.Sprint("n_batch ", 1000+i)}, // another engine
		{more: "timeout 5m\nlb_retries 1", around: "header X-Variant 5"},
		{far: fmt.Sprintf("header X-Number %d", i), more: "provider idle llamacpp /missing.gguf"},
	}
	v := variants[i%len(variants)]
	return fmt.Sprintf(`%s
	llm {
		provider near llamacpp %q {
			n_ctx 4096
			n_parallel 4
			n_threads 1
			%s
		}
		provider far openai %s {
			%s
		}
		model near {
			to near
		}
		model far {
			to far
		}
		%s
	}`, v.around, starterModel(t), v.near, url, v.far, v.more)
}

// tally counts what the workers of a load test did.
type tally struct {
	asked, failed atomic.Int64
	mu            sync.Mutex // guards what follows
	failures      []error
	slowest       time.Duration
	slowestIs     string
}

func (c *tally) add(what string, err error, took time.Duration) {
	c.asked.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if took > c.slowest {
		c.slowest, c.slowestIs = took, what
	}
	if err != nil {
		c.failed.Add(1)
		c.failures = append(c.failures, fmt.Errorf("%s: %w", what, err))
	}
}

// Clients ask all the time, over every protocol, with and without streams, a local model and a remote one, while the
// configuration changes again and again. LLMGATEWAY_SOAK makes it the long form.
func TestReloadUnderLoad(t *testing.T) {
	reloads := 20
	if os.Getenv("LLMGATEWAY_SOAK") != "" {
		reloads = 100
	}
	url := upstream(t, good)
	g := newGateway(t)
	g.retry = true
	g.spawn(loadSite(t, 0, url))

	var counts tally
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var workers sync.WaitGroup
	words := []string{"maple", "tulip", "zebra", "quartz", "violet", "walnut"}
	for i, protocol := range protocols {
		client := g.client(protocol)
		for j, streamed := range []bool{true, false} {
			word := words[2*i+j]
			for _, w := range []worker{
				{"near", "The code word is " + word + ".", "The code word is: " + word, streamed},
				{"far", "hello", goodText, streamed},
			} {
				workers.Go(func() {
					for ctx.Err() == nil {
						began := time.Now()
						err := w.ask(g, client)
						counts.add(fmt.Sprintf("%s %s streamed=%v", protocol, w.model, w.streamed), err, time.Since(began))
					}
				})
			}
		}
	}
	var reloading time.Duration
	for i := range reloads {
		before, began := counts.asked.Load(), time.Now()
		if err := g.reload(loadSite(t, i+1, url)); err != nil {
			t.Fatal(err)
		}
		reloading += time.Since(began)
		await(t, "answers under the new configuration", func() bool { return counts.asked.Load() >= before+24 })
	}
	stop()
	workers.Wait()
	t.Logf("%d reloads, %v each; %d requests, %d failed, %d repeated since their connection closed before the answer; the slowest took %v (%s)",
		reloads, reloading/time.Duration(reloads), counts.asked.Load(), counts.failed.Load(), g.retries.Load(), counts.slowest, counts.slowestIs)
	for _, err := range counts.failures[:min(10, len(counts.failures))] {
		t.Error(err)
	}
	// The last configurations may have seen requests for the remote model only.
	last := worker{"near", "The code word is maple.", "The code word is: maple", true}
	if err := last.ask(g, g.client("HTTP/1.1")); err != nil {
		t.Error(err)
	}
	g.server() // one, in the end
}

// worker is what one client asks, and the answer it must get.
type worker struct {
	model, prompt, want string
	streamed            bool
}

func (w worker) ask(g *gateway, client *http.Client) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	return w.askIn(ctx, g, client)
}

func (w worker) askIn(ctx context.Context, g *gateway, client *http.Client) error {
	var text string
	if w.streamed {
		s, err := g.open(ctx, client, chat(w.model, w.prompt, true))
		if err != nil {
			return err
		}
		if text, err = s.rest(); err != nil {
			return err
		}
	} else {
		a, err := g.ask(ctx, client, chat(w.model, w.prompt, false))
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		text = a.text()
	}
	if text != w.want {
		return errors.New("got " + text)
	}
	return nil
}
