package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func init() {
	caddy.RegisterModule(turnstile{})
	httpcaddyfile.RegisterHandlerDirective("turnstile", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return turnstile{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("turnstile", httpcaddyfile.Before, "encode")
}

// turnstile is a handler that counts the requests that have come, whether or not their bodies have.
type turnstile struct{}

var entered atomic.Int64

func (turnstile) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.turnstile", New: func() caddy.Module { return new(turnstile) }}
}

func (turnstile) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	entered.Add(1)
	return next.ServeHTTP(w, r)
}

// localSite returns a site whose model is the starter model. options are further lines for its provider, more are further
// directives of llm.
func localSite(t *testing.T, options, more string) string {
	t.Helper()
	return fmt.Sprintf(`turnstile
	llm {
		provider near llamacpp %q {
			n_ctx 4096
			n_parallel 4
			n_threads 1
			%s
		}
		model m {
			to near
		}
		%s
	}`, starterModel(t), options, more)
}

// counted compares a text with what the starter model says when it counts for n tokens: from 1 to 40, and over again.
func counted(text string, n int) error {
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "%d, ", i%40+1)
	}
	if text != want.String() {
		return fmt.Errorf("got %q, want %q", text, want.String())
	}
	return nil
}

// counting are streams of the starter model that have begun.
type counting struct {
	protocols []string
	streams   []*stream
	tokens    int
}

// startCounting starts a stream over each of the protocols and pauses the model server while all of them are running.
func startCounting(t *testing.T, g *gateway, protocols ...string) (c *counting, server int, resume func()) {
	t.Helper()
	handled := g.handled()
	clients := make([]*http.Client, len(protocols))
	for i, protocol := range protocols {
		clients[i] = g.client(protocol)
		if _, err := g.ask(t.Context(), clients[i], chat("m", "hello", false)); err != nil {
			t.Fatal(err)
		}
		handled++
	}
	// A fast server may have come to the end of a stream before it is paused.
	for tokens := 300; tokens < 30000; tokens *= 2 {
		await(t, "end of requests", func() bool { return g.handled() == handled })
		c = &counting{protocols: protocols, tokens: tokens}
		for i, protocol := range protocols {
			s, err := g.open(t.Context(), clients[i], chat("m", "please count", true, fmt.Sprintf(`"max_tokens":%d`, tokens)))
			if err == nil {
				err = s.word()
			}
			if err != nil || s.resp.Proto != protocol {
				t.Fatalf("%s: got %v, %v", protocol, s, err)
			}
			c.streams = append(c.streams, s)
		}
		server = g.server()
		resume = pause(t, server)
		time.Sleep(20 * time.Millisecond) // what was sent before arrives
		if g.handled() == handled {
			return c, server, resume
		}
		resume()
		c.check(t)
		handled += len(protocols)
	}
	t.Fatal("streams cannot be stopped before they end")
	return nil, 0, nil
}

// check reads the streams to their ends, which must be complete.
func (c *counting) check(t *testing.T) {
	t.Helper()
	for i, s := range c.streams {
		text, err := s.rest()
		if err == nil {
			err = counted(text, c.tokens)
		}
		if err != nil {
			t.Errorf("%s: %v", c.protocols[i], err)
		}
	}
}

// unstartable returns a site that cannot be started, since somebody else listens on its port.
func unstartable(t *testing.T) string {
	t.Helper()
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = occupied.Close() })
	return "http://" + occupied.Addr().String() + " {\nbind 127.0.0.1\n}"
}

// engineRefs returns how many configurations hold each of the engines.
func engineRefs() []int {
	var keys []any
	engines.Range(func(key, _ any) bool {
		keys = append(keys, key)
		return true
	})
	refs := make([]int, 0, len(keys))
	for _, key := range keys {
		n, _ := engines.References(key)
		refs = append(refs, n)
	}
	return refs
}

func TestReloadWhileStreaming(t *testing.T) {
	occupant := unstartable(t)
	same := localSite(t, "", "")
	tests := []struct {
		name  string
		site  string
		more  string // further sites
		times int    // the order in which Caddy starts things is random
		fails string
		refs  []int
		kept  bool // the process
		loads int  // after another request
	}{
		{name: "same", site: same, times: 3, refs: []int{1}, kept: true, loads: 1},
		{name: "settings changed", site: localSite(t, "max_queue 3\nkeep_alive 1h", "first_token_timeout 1h"), times: 1, refs: []int{1}, kept: true, loads: 1},
		{name: "engine changed", site: localSite(t, "n_batch 1000", ""), times: 1, refs: []int{1}, loads: 2},
		{name: "engine removed", site: "llm {\nprovider echo echo\nmodel m {\nto echo\n}\n}", times: 1, refs: []int{}, loads: 1},
		{name: "llm removed", site: "respond nothing", times: 1, refs: []int{}, loads: 1},
		{
			name: "fails in Provision", site: localSite(t, "", "provider far openai ftp://nowhere"), times: 5, fails: "base URL",
			refs: []int{1}, kept: true, loads: 1,
		},
		{
			name: "other engine fails in Provision", site: localSite(t, "n_batch 1000\npreload", "provider far openai ftp://nowhere"), times: 5, fails: "base URL",
			refs: []int{1}, kept: true, loads: 1,
		},
		{
			name: "fails in Validate", site: localSite(t, "", "model other {\nto nobody\n}"), times: 2, fails: "no such provider",
			refs: []int{1}, kept: true, loads: 1,
		},
		{
			name: "fails in Start", site: same, more: occupant, times: 5, fails: "address already in use",
			refs: []int{1}, kept: true, loads: 1,
		},
		{
			name: "other engine fails in Start", site: localSite(t, "n_batch 1000\npreload", ""), more: occupant, times: 5,
			fails: "address already in use", refs: []int{1}, kept: true, loads: 1,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.retry = true
			g.start(same)
			streams, server, resume := startCounting(t, g, protocols...)
			g.more = test.more
			for range test.times {
				err := g.reload(test.site)
				if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("reload: got %v, want %q", err, test.fails)
				}
			}
			if got := engineRefs(); !slices.Equal(got, test.refs) {
				t.Errorf("references to engines: got %v, want %v", got, test.refs)
			}
			if test.site != "respond nothing" && !test.kept {
				await(t, "answer under the new configuration while the old one streams", func() bool { return g.answers(t, "m") })
			}
			if !alive(server) {
				t.Error("the model server is gone")
			}
			resume()
			streams.check(t)
			if test.kept {
				if !g.answers(t, "m") {
					t.Error("no answer")
				}
				if got := g.server(); got != server {
					t.Errorf("process %d, before %d", got, server)
				}
			} else {
				await(t, "end of the model server", func() bool { return !alive(server) })
			}
			if got := len(g.logged("engine loaded")); got != test.loads {
				t.Errorf("loaded %d times, want %d", got, test.loads)
			}
		})
	}
}

// A configuration that fails may have been started in part, and shares the engine with the one that goes on.
func TestFailedReloadLeavesTheEngineAlone(t *testing.T) {
	g := newGateway(t)
	g.retry = true
	g.start(localSite(t, "preload", ""))
	await(t, "model", func() bool { return len(g.logged("engine loaded")) == 1 })
	server := g.server()
	g.more = unstartable(t)
	for range 10 { // the order in which Caddy starts things is random
		if err := g.reload(localSite(t, "keep_alive 100ms", "")); err == nil {
			t.Fatal("the configuration does not fail")
		}
	}
	if eventually(500*time.Millisecond, func() bool { return !alive(server) }) {
		t.Error("the model was unloaded as the failed configuration says")
	}
	g.more = ""
	if err := g.reload(localSite(t, "keep_alive 100ms", "")); err != nil {
		t.Fatal(err)
	}
	await(t, "unloading", func() bool { return !alive(server) })
}

// answers reports whether a new client gets an answer soon. Right after a reload it may not: the old listener may have
// taken its connection, so that it is asked to wait for a server that is paused.
func (g *gateway) answers(t *testing.T, model string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	a, err := g.ask(ctx, g.client("HTTP/2.0"), chat(model, "hello", false))
	return err == nil && a.status == http.StatusOK
}

// resources is what may not grow.
type resources struct {
	goroutines map[string]int // by where they began
	files      int
	children   int
	folders    int
}

func measure(g *gateway) resources {
	files, _ := os.ReadDir("/proc/self/fd")
	folders, _ := filepath.Glob(filepath.Join(g.dir, "llmgateway-*"))
	now := resources{make(map[string]int), len(files), len(g.servers()), len(folders)}
	stacks := make([]byte, 4<<20)
	for line := range strings.Lines(string(stacks[:runtime.Stack(stacks, true)])) {
		if origin, ok := strings.CutPrefix(line, "created by "); ok && !strings.HasPrefix(origin, "testing.") {
			origin, _, _ = strings.Cut(origin, " in goroutine")
			now.goroutines[origin]++
		}
	}
	return now
}

// since returns what there is more of than before.
func (r resources) since(before resources) []string {
	var more []string
	for origin, n := range r.goroutines {
		allowed := before.goroutines[origin]
		if strings.HasSuffix(origin, "caddy/v2.replaceLocalAdminServer") {
			allowed += adminSlack
		}
		if n > allowed {
			more = append(more, fmt.Sprintf("%d goroutines from %s, before %d", n, origin, before.goroutines[origin]))
		}
	}
	if r.files > before.files+adminSlack || r.children != before.children || r.folders != before.folders {
		more = append(more, fmt.Sprintf("%d files, %d children, %d folders; before %d, %d, %d",
			r.files, r.children, r.folders, before.files, before.children, before.folders))
	}
	return more
}

// checkBack waits until no more is there than before.
func checkBack(t *testing.T, g *gateway, before resources) {
	t.Helper()
	var more []string
	if !eventually(15*time.Second, func() bool {
		more = measure(g).since(before)
		return more == nil
	}) {
		t.Errorf("left over: %s", strings.Join(more, "\n"))
	}
}

// adminSlack is how many of Caddy's own admin servers may not have ended yet, with a file each. What leaks with each of
// dozens of reloads is far more.
const adminSlack = 2

// settled waits until goroutines stay as they are, and measures.
func settled(t *testing.T, g *gateway) resources {
	t.Helper()
	var last resources
	await(t, "rest", func() bool {
		last = measure(g)
		time.Sleep(200 * time.Millisecond)
		return reflect.DeepEqual(last, measure(g))
	})
	return last
}

// Streams of remote providers, one of them with a transport of its own, last through fifty reloads.
func TestRemoteStreamsOutliveReloads(t *testing.T) {
	release := make(chan struct{})
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		wantsStream(r)
		say(w, "before, ")
		select {
		case <-release:
			say(w, "after")
			sayDone(w)
		case <-r.Context().Done():
		}
	})
	site := func(i int) string {
		if i%5 == 4 {
			return "respond nothing"
		}
		return fmt.Sprintf(`encode gzip
			header X-Number %d
			llm {
				stream_idle_timeout 1m
				provider plain openai %[2]s
				provider special openai %[2]s {
					transport http {
						keepalive 1m
					}
				}
				model plain {
					to plain
				}
				model special {
					to special
				}
			}`, i, url)
	}
	g := newGateway(t)
	g.retry = true
	g.start(site(0))
	before := settled(t, g)
	var clients []*http.Client
	var streams []*stream
	for _, protocol := range protocols {
		for _, model := range []string{"plain", "special"} {
			client := g.client(protocol)
			s, err := g.open(t.Context(), client, chat(model, "hello", true))
			if err == nil {
				err = s.word()
			}
			if err != nil {
				t.Fatal(err)
			}
			streams, clients = append(streams, s), append(clients, client)
		}
	}
	for i := range 50 {
		if err := g.reload(site(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	for i, s := range streams {
		if text, err := s.rest(); err != nil || text != "before, after" {
			t.Errorf("%s, %s: got %q, %v", protocols[i/2], s.resp.Header.Get("X-LLM-Provider"), text, err)
		}
		clients[i].CloseIdleConnections()
	}
	before.goroutines["net/http.(*Transport).dialConn"] += 2 * len(protocols) // of the shared transport, kept for a while
	before.goroutines["net/http.(*Server).Serve"] += len(protocols)
	before.files += 2 * len(protocols)
	checkBack(t, g, before)
}

// Whoever only wants to know whether a configuration is good gets no process and changes nothing of what runs.
func TestValidatingStartsNothing(t *testing.T) {
	g := newGateway(t)
	g.start(localSite(t, "", ""))
	checkWord(t, g, "near")
	server := g.server()
	before := settled(t, g)
	var config *caddy.Config
	if err := json.Unmarshal(adapt(t, g.caddyfile(localSite(t, "preload\nn_batch 1000\nkeep_alive 1ms", ""))), &config); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := caddy.Validate(config); err != nil {
			t.Fatal(err)
		}
	}
	if eventually(200*time.Millisecond, func() bool { return len(g.servers()) != 1 || g.servers()[0] != server }) {
		t.Errorf("processes %v, before %d", g.servers(), server)
	}
	if got := engineRefs(); !slices.Equal(got, []int{1}) {
		t.Errorf("references to engines: %v", got)
	}
	checkBack(t, g, before)
}

func TestReloadsLeaveNothingBehind(t *testing.T) {
	const reloads = 50
	occupant := unstartable(t)
	url := upstream(t, good)
	g := newGateway(t)
	g.retry = true
	same := localSite(t, "", "provider far openai "+url+"\nmodel far {\nto far\n}")
	g.start(same)
	ask := func(protocol, model string) {
		t.Helper()
		client := g.client(protocol)
		defer client.CloseIdleConnections()
		s, err := g.open(t.Context(), client, chat(model, "hello", true))
		if err == nil {
			_, err = s.rest()
		}
		if err != nil {
			t.Error(err)
		}
	}
	reload := func(site, more string, fails bool) {
		t.Helper()
		g.more = more
		if err := g.reload(site); (err != nil) != fails {
			t.Fatal(err)
		}
	}
	for _, protocol := range protocols {
		ask(protocol, "m")
		ask(protocol, "far")
	}
	reload(same, "", false)
	server := g.server()
	before := settled(t, g)

	tests := []struct {
		name string
		do   func(i int)
	}{
		{"same", func(int) { reload(same, "", false) }},
		{"settings changed", func(i int) {
			reload(localSite(t, fmt.Sprintf("max_queue %d", i), fmt.Sprintf("timeout %dm\nprovider far openai %s\nmodel far {\nto far\n}", i+1, url)), "", false)
		}},
		{"another engine comes and goes", func(i int) {
			reload(localSite(t, "", fmt.Sprintf("provider far openai %s\nmodel far {\nto far\n}\nprovider other llamacpp %q {\nn_ctx %d\n}", url, starterModel(t), 1000+i)), "", false)
		}},
		{"fails in Provision", func(int) { reload(localSite(t, "", "provider far openai ftp://nowhere"), "", true) }},
		{"fails in Start", func(int) { reload(localSite(t, "n_batch 1000\npreload", ""), occupant, true) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for i := range reloads {
				test.do(i)
				if i%5 == 0 {
					ask(protocols[i/5%3], []string{"m", "far"}[i%2])
				}
			}
			reload(same, "", false)
			if got := engineRefs(); !slices.Equal(got, []int{1}) {
				t.Errorf("references to engines: %v", got)
			}
			if got := g.server(); got != server {
				t.Errorf("process %d, before %d", got, server)
			}
			http.DefaultClient.CloseIdleConnections()
			checkBack(t, g, before)
		})
	}
}

// A request that waits for its turn has no place in a model server yet. It gets one although the configuration that it
// came under is gone.
func TestReloadKeepsRequestsThatWait(t *testing.T) {
	for name, next := range map[string]string{"engine changed": localSite(t, "n_batch 1000", ""), "llm removed": "respond nothing"} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.retry = true
			one := strings.Replace(localSite(t, "", ""), "n_parallel 4", "n_parallel 1", 1)
			g.start(one)
			first, _, resume := startCounting(t, g, "HTTP/2.0")
			type result struct {
				text string
				err  error
			}
			results := make(chan result)
			for _, protocol := range protocols {
				client := g.client(protocol)
				go func() {
					a, err := g.ask(t.Context(), client, chat("m", "please count", false, `"max_tokens":50`))
					if a.status != http.StatusOK {
						err = fmt.Errorf("%d %s, %v", a.status, a.body, err)
					}
					results <- result{a.text(), err}
				}()
			}
			await(t, "queue", func() bool { return waiting() == len(protocols) })
			if err := g.reload(next); err != nil {
				t.Fatal(err)
			}
			resume()
			first.check(t)
			for range protocols {
				if r := <-results; r.err != nil || counted(r.text, 50) != nil {
					t.Errorf("a waiting one: got %q, %v", r.text, r.err)
				}
			}
			if name == "llm removed" {
				await(t, "end of the model server", func() bool { return len(g.servers()) == 0 })
			}
		})
	}
}

// waiting returns how many requests wait for a turn at any engine.
func waiting() int {
	n := 0
	engines.Range(func(_, value any) bool {
		n += value.(*local.Engine).Waiting()
		return true
	})
	return n
}

// A request that is still being uploaded when its configuration goes has no engine yet either.
func TestReloadKeepsRequestsThatUpload(t *testing.T) {
	for name, next := range map[string]string{"engine changed": localSite(t, "n_batch 1000", ""), "llm removed": "respond nothing"} {
		for _, protocol := range protocols {
			t.Run(name+" "+protocol, func(t *testing.T) {
				g := newGateway(t)
				g.retry = true
				g.start(localSite(t, "", ""))
				before := entered.Load()
				body := chat("m", "please count", false, `"max_tokens":50`)
				upload, write := io.Pipe()
				req := g.request(t.Context(), "")
				req.Body, req.GetBody, req.ContentLength = upload, nil, int64(len(body))
				go func() {
					_, _ = io.WriteString(write, body[:20])
					_ = eventually(10*time.Second, func() bool { return entered.Load() > before })
					err := g.reload(next)
					_, _ = io.WriteString(write, body[20:])
					_ = write.CloseWithError(err)
				}()
				resp, err := g.client(protocol).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if a := (answer{body: string(text)}); err != nil || counted(a.text(), 50) != nil {
					t.Errorf("got %s %s, %v", resp.Status, text, err)
				}
				await(t, "end of the model server", func() bool { return len(g.servers()) == 0 })
			})
		}
	}
}
