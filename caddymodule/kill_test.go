package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// outcomes counts how the requests of TestModelServerIsKilledAgainAndAgain ended.
type outcomes struct {
	near, far, broken atomic.Int64
	mu                sync.Mutex // guards failures
	failures          []error
}

// ask makes the model count, and checks that the answer is either the right one as a whole, or broken and says so.
func (o *outcomes) ask(g *gateway, client *http.Client, streamed bool) error {
	const tokens = 200
	ctx, cancel := context.WithTimeout(g.t.Context(), 40*time.Second)
	defer cancel()
	body := chat("m", "please count", streamed, fmt.Sprintf(`"max_tokens":%d`, tokens))
	if !streamed {
		a, err := g.ask(ctx, client, body)
		switch {
		case err != nil:
			return err
		case a.status != http.StatusOK:
			return fmt.Errorf("%d %s", a.status, a.body)
		case a.header.Get("X-LLM-Provider") == "far":
			o.far.Add(1)
			return nil
		default:
			o.near.Add(1)
			return counted(a.text(), tokens)
		}
	}
	s, err := g.open(ctx, client, body)
	if err != nil {
		return err
	}
	text, err := s.rest()
	switch {
	case err == nil && s.resp.Header.Get("X-LLM-Provider") == "far":
		o.far.Add(1)
		return nil
	case err == nil:
		o.near.Add(1)
		return counted(text, tokens)
	case s.done || s.fault == "":
		return fmt.Errorf("a broken stream ends with %d bytes, end marker %v: %w", len(text), s.done, err)
	case text == "":
		return errors.New("a stream that had not begun was broken")
	case !strings.Contains(s.fault, "the local model server stopped"):
		return fmt.Errorf("the stream's error says %q", s.fault)
	default:
		o.broken.Add(1)
		return nil
	}
}

// healthLatencies asks for the gateway's health until ctx ends, and returns how long each answer took.
func (g *gateway) healthLatencies(ctx context.Context) (latencies []time.Duration, err error) {
	client := g.client("HTTP/1.1")
	_, port, _ := net.SplitHostPort(g.address)
	for ctx.Err() == nil {
		began := time.Now()
		resp, err := client.Get("https://localhost:" + port + "/health")
		if err != nil {
			return latencies, err
		}
		_ = resp.Body.Close()
		latencies = append(latencies, time.Since(began))
		if resp.StatusCode != http.StatusOK {
			return latencies, errors.New("health: " + resp.Status)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return latencies, nil
}

// The model's process is killed at random while clients ask without pause. What had begun is broken and says so; what had
// not is served, by the next process or by the next target. LLMGATEWAY_SOAK makes it the long form.
func TestModelServerIsKilledAgainAndAgain(t *testing.T) {
	kills, bound := 8, 5*time.Second
	if os.Getenv("LLMGATEWAY_SOAK") != "" {
		kills, bound = 100, 50*time.Millisecond
	}
	g := newGateway(t)
	g.spawn(fmt.Sprintf(`
	llm_health /health
	llm {
		provider near llamacpp %q {
			n_ctx 4096
			n_parallel 4
			n_threads 1
			preload
		}
		provider far openai %s
		model m {
			to near far
		}
	}`, starterModel(t), upstream(t, good)))

	var seen outcomes
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var workers sync.WaitGroup
	for _, protocol := range protocols {
		client := g.client(protocol)
		for _, streamed := range []bool{true, false} {
			workers.Go(func() {
				for ctx.Err() == nil {
					if err := seen.ask(g, client, streamed); err != nil {
						seen.mu.Lock()
						seen.failures = append(seen.failures, fmt.Errorf("%s, streamed %v: %w", protocol, streamed, err))
						seen.mu.Unlock()
					}
				}
			})
		}
	}
	var latencies []time.Duration
	var unhealthy error
	workers.Go(func() { latencies, unhealthy = g.healthLatencies(ctx) })

	killed := make(map[int]bool)
	for range kills {
		var server int
		// Three that are killed before they answer anything are followed by none for half a minute, and a fourth by none for a
		// minute: that is what the next target is for.
		if !eventually(3*time.Minute, func() bool {
			servers := g.servers()
			if len(servers) == 0 || killed[servers[0]] {
				return false
			}
			server = servers[0]
			return true
		}) {
			t.Fatal("no llama-server for three minutes")
		}
		time.Sleep(rand.N(2 * time.Second))
		killed[server] = true
		_ = syscall.Kill(server, syscall.SIGKILL) // while it loads, while it serves, or just when it ends
	}
	stop()
	workers.Wait()

	slices.Sort(latencies)
	slowest := latencies[len(latencies)-1]
	t.Logf("%d kills: %d answers by the local model, %d by the next target, %d broken streams; %d health checks: median %v, slowest %v",
		kills, seen.near.Load(), seen.far.Load(), seen.broken.Load(), len(latencies), latencies[len(latencies)/2], slowest)
	for _, err := range seen.failures[:min(10, len(seen.failures))] {
		t.Error(err)
	}
	if unhealthy != nil || slowest > bound {
		t.Errorf("health checks: %v, the slowest took %v, want at most %v", unhealthy, slowest, bound)
	}
	if seen.near.Load() == 0 || seen.broken.Load() == 0 {
		t.Error("nothing was put to the test")
	}
	if !eventually(3*time.Minute, func() bool {
		a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "The code word is maple.", false))
		return err == nil && a.text() == "The code word is: maple"
	}) {
		t.Error("the local model does not come back")
	}
	g.server() // one, in the end
}
