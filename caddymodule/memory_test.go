package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// modelFile returns another file with the starter model, in the gateway's folder.
func (g *gateway) modelFile(name string) string {
	g.t.Helper()
	data, err := os.ReadFile(starterModel(g.t))
	if err != nil {
		g.t.Fatal(err)
	}
	file := filepath.Join(g.dir, name+".gguf")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		g.t.Fatal(err)
	}
	return file
}

// severalSite returns a site with a local model of each name, the later ones larger, and further options for each.
func (g *gateway) severalSite(names []string, options string) string {
	g.t.Helper()
	var site strings.Builder
	site.WriteString("llm_health /health\nllm {\n")
	for i, name := range names {
		fmt.Fprintf(&site, "provider %[1]s llamacpp %[2]q {\nn_ctx 4096\nn_parallel 2\nn_threads 1\ncache_ram %[3]dMiB\n%[4]s\n}\nmodel %[1]s {\nto %[1]s\n}\n",
			name, g.modelFile(name), 40*i, options)
	}
	site.WriteString("}")
	return site.String()
}

// estimates returns how much memory each engine needs, by name.
func estimates() map[string]uint64 {
	var all []*local.Engine
	engines.Range(func(_, value any) bool {
		all = append(all, value.(*local.Engine))
		return true
	})
	needs := make(map[string]uint64)
	for _, e := range all {
		needs[e.Key().Name()] = e.Report().EstimatedBytes
	}
	return needs
}

func maxMemory(bytes uint64) string { return fmt.Sprintf("llm {\nmax_memory %dB\n}", bytes) }

// visitors are clients that ask several models at random. Some leave before they have their answer.
type visitors struct {
	g        *gateway
	names    []string
	mu       sync.Mutex // guards failures and slowest
	failures []error
	slowest  time.Duration
	answered map[string]*atomic.Int64
	left     atomic.Int64
}

// visit asks once: for a code word, or for an answer that takes a while.
func (v *visitors) visit(client *http.Client) {
	words := []string{"maple", "tulip", "zebra", "quartz", "violet", "walnut"}
	model, word, streamed := v.names[rand.IntN(len(v.names))], words[rand.IntN(len(words))], rand.IntN(2) == 0
	ctx, cancel := context.WithTimeout(v.g.t.Context(), 50*time.Second)
	defer cancel()
	if rand.IntN(4) == 0 {
		defer time.AfterFunc(rand.N(400*time.Millisecond), cancel).Stop()
	}
	began := time.Now()
	var err error
	if rand.IntN(5) == 0 {
		const tokens = 400
		var s *stream
		if s, err = v.g.open(ctx, client, chat(model, "please count", true, fmt.Sprintf(`"max_tokens":%d`, tokens))); err == nil {
			var text string
			if text, err = s.rest(); err == nil {
				err = counted(text, tokens)
			}
		}
	} else {
		err = worker{model, "The code word is " + word + ".", "The code word is: " + word, streamed}.askIn(ctx, v.g, client)
	}
	took := time.Since(began)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err == nil:
		v.answered[model].Add(1)
		v.slowest = max(v.slowest, took)
	case errors.Is(ctx.Err(), context.Canceled):
		v.left.Add(1)
	default:
		v.failures = append(v.failures, fmt.Errorf("%s after %v: %w", model, took, err))
	}
}

// Three models share memory for two of them, or for one large one, while clients come and go. No generation is cut, nobody
// waits for ever, there is never more in memory than may be, and nothing is left. LLMGATEWAY_SOAK makes it the long form.
func TestModelsShareMemoryWhileClientsComeAndGo(t *testing.T) {
	requests := 150
	if os.Getenv("LLMGATEWAY_SOAK") != "" {
		requests = 1000
	}
	names := []string{"small", "medium", "large"}
	g := newGateway(t)
	site := g.severalSite(names, "")
	g.start(site)
	needs := estimates()
	if len(needs) != 3 || needs["small"] == 0 || needs["large"] > needs["small"]+needs["medium"] {
		t.Fatalf("estimates: %v", needs)
	}
	g.options = maxMemory(needs["small"] + needs["medium"])
	if err := g.reload(site); err != nil {
		t.Fatal(err)
	}

	v := &visitors{g: g, names: names, answered: map[string]*atomic.Int64{"small": {}, "medium": {}, "large": {}}}
	var most uint64
	processes, samples := 0, 0
	stop := make(chan struct{})
	var sampling, clients sync.WaitGroup
	sampling.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if most = max(most, budget().Report().UsedBytes); samples%20 == 0 {
				processes = max(processes, len(g.servers()))
			}
			samples++
		}
	})
	var asked atomic.Int64
	began := time.Now()
	for _, protocol := range protocols {
		client := g.client(protocol)
		for range 4 {
			clients.Go(func() {
				for asked.Add(1) <= int64(requests) {
					v.visit(client)
				}
			})
		}
	}
	clients.Wait()
	took := time.Since(began)
	close(stop)
	sampling.Wait()

	limit := budget().Report().MaxBytes
	loads, rooms := len(g.logged("engine loaded")), len(g.logged("engine makes room"))
	t.Logf("%d requests in %v: %d+%d+%d answered, %d left, %d failed, the slowest answer after %v; %d loads, %d times room was made, %d loads given up; "+
		"at most %d of %d bytes and %d processes in %d samples",
		requests, took.Round(time.Millisecond), v.answered["small"].Load(), v.answered["medium"].Load(), v.answered["large"].Load(), v.left.Load(), len(v.failures),
		v.slowest.Round(time.Millisecond), loads, rooms, len(g.logged("engine load given up")), most, limit, processes, samples)
	for _, err := range v.failures[:min(10, len(v.failures))] {
		t.Error(err)
	}
	if limit != needs["small"]+needs["medium"] || most > limit || most == 0 || processes > 2 {
		t.Errorf("memory: %d of %d bytes, %d processes", most, limit, processes)
	}
	if loads <= len(names) || rooms == 0 {
		t.Error("nothing was put to the test")
	}
	for _, message := range []string{"engine died", "engine failed"} {
		if entries := g.logged(message); len(entries) > 0 {
			t.Errorf("%s: %v", message, entries[0])
		}
	}
	await(t, "rest", func() bool {
		return !slices.ContainsFunc(budget().Report().Claims, func(c memory.ClaimReport) bool { return c.Requests > 0 || !c.Held })
	})
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	await(t, "end of all processes", func() bool { return len(g.servers()) == 0 && len(budget().Report().Claims) == 0 })
	if left := g.sockets(); left != nil {
		await(t, "clean folder", func() bool { return g.sockets() == nil })
	}
}

// healthOf returns what a health check says of a provider.
func (g *gateway) healthOf(provider string) (state, detail string) {
	g.t.Helper()
	req := g.request(g.t.Context(), "")
	req.Method, req.URL.Path, req.Body = http.MethodGet, "/health", nil
	resp, err := g.client("HTTP/2.0").Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	var report struct {
		Providers map[string]struct{ State, Detail string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&report); err != nil {
		g.t.Fatal(err)
	}
	return report.Providers[provider].State, report.Providers[provider].Detail
}

func TestReloadChangesMaxMemory(t *testing.T) {
	names := []string{"first", "second"}
	g := newGateway(t)
	g.retry = true
	site := g.severalSite(names, "")
	g.start(site)
	own, needs := budget().Report().MaxBytes, estimates()
	load := func(name string) {
		t.Helper()
		if a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat(name, "hello", false)); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: got %v, %v", name, a, err)
		}
	}
	load("first")
	load("second")
	reload := func(options string) {
		t.Helper()
		g.options = options
		if err := g.reload(site); err != nil {
			t.Fatal(err)
		}
	}
	reload(maxMemory(needs["first"] + needs["second"]))
	if n := len(g.servers()); n != 2 {
		t.Errorf("%d processes, want 2: both fit", n)
	}
	// A configuration that fails changes nothing.
	g.options, g.more = maxMemory(1<<20), unstartable(t)
	if err := g.reload(site); err == nil {
		t.Fatal("the configuration does not fail")
	}
	g.more = ""
	if got, want := budget().Report().MaxBytes, needs["first"]+needs["second"]; got != want {
		t.Errorf("after a failed reload: got %d bytes, want %d", got, want)
	}

	reload(maxMemory(needs["second"]))
	await(t, "one process", func() bool { return len(g.servers()) == 1 })
	load("first")
	await(t, "one process", func() bool { return len(g.servers()) == 1 })
	load("second")

	reload(maxMemory(needs["second"] - 1))
	a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("second", "hello", false))
	if err != nil || a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "of memory, and max_memory is ") {
		t.Errorf("a model that is too large: got %v, %v", a, err)
	}
	if state, detail := g.healthOf("second"); state != "failed" || !strings.Contains(detail, "and max_memory is") {
		t.Errorf("its health: %s, %s", state, detail)
	}
	load("first")

	reload("")
	if got := budget().Report().MaxBytes; got != own {
		t.Errorf("without max_memory: got %d bytes, want %d", got, own)
	}
	load("second")
}

// The changed engine does not fit beside the old one, which is streaming. It waits, and serves when the streams have ended.
func TestChangedEngineWaitsForTheOldOnesMemory(t *testing.T) {
	g := newGateway(t)
	g.retry = true
	g.start(localSite(t, "", ""))
	for _, need := range estimates() {
		g.options = maxMemory(need + need/2)
	}
	if err := g.reload(localSite(t, "", "")); err != nil {
		t.Fatal(err)
	}
	streams, server, resume := startCounting(t, g, "HTTP/2.0")
	if err := g.reload(localSite(t, "n_batch 1000\npreload", "")); err != nil {
		t.Fatal(err)
	}
	// A listener that is being closed may still take a connection, whose request then waits for the old engine.
	answered := make(chan error, 10)
	asked := 0
	for waiting := false; !waiting && asked < cap(answered); asked++ {
		client := g.client("HTTP/2.0")
		go func() {
			a, err := g.ask(t.Context(), client, chat("m", "hello", false))
			if err == nil && a.status != http.StatusOK {
				err = errors.New(a.body)
			}
			answered <- err
		}()
		waiting = eventually(2*time.Second, func() bool {
			claims := budget().Report().Claims
			return len(claims) == 2 && !claims[1].Held && claims[1].Requests > 0
		})
		if !waiting && asked == cap(answered)-1 {
			t.Error("no request waits for the changed engine")
		}
	}
	if got := g.server(); got != server {
		t.Errorf("process %d, before %d", got, server)
	}
	resume()
	streams.check(t)
	for range asked {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	await(t, "end of the old process", func() bool { return !alive(server) })
}
