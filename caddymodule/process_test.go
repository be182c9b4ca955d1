package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kill ends a process as the kernel does when memory runs out.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// checkWord asks for a code word, and expects it from the provider.
func checkWord(t *testing.T, g *gateway, provider string) {
	t.Helper()
	a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "The code word is maple.", false))
	if err != nil || a.status != http.StatusOK || a.header.Get("X-LLM-Provider") != provider ||
		provider == "near" && a.text() != "The code word is: maple" {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestKilledModelServerIsReplaced(t *testing.T) {
	g := newGateway(t)
	g.spawn(localSite(t, "", ""))
	for range 2 {
		checkWord(t, g, "near")
		server := g.server()
		kill(t, server)
		began := time.Now()
		checkWord(t, g, "near")
		t.Logf("answered after %v", time.Since(began))
		if now := g.server(); now == server {
			t.Error("it is the same process")
		}
	}
}

func TestKilledModelServerEndsItsStreams(t *testing.T) {
	g := newGateway(t)
	g.spawn(localSite(t, "", ""))
	streams, server, _ := startCounting(t, g, protocols...)
	kill(t, server)
	for i, s := range streams.streams {
		text, err := s.rest()
		if err == nil || !strings.HasPrefix(text, "1, ") || s.done || !strings.Contains(s.fault, "the local model server stopped") {
			t.Errorf("%s: got %d bytes, end marker %v, error %q, %v", streams.protocols[i], len(text), s.done, s.fault, err)
		}
		checkDiscreet(t, s.fault)
	}
	checkWord(t, g, "near")
}

func TestSecondTargetAnswersForALostModel(t *testing.T) {
	original, err := os.ReadFile(starterModel(t))
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(t)
	model := filepath.Join(g.dir, "model.gguf")
	if err := os.WriteFile(model, original, 0o600); err != nil {
		t.Fatal(err)
	}
	g.spawn(fmt.Sprintf("llm {\nprovider near llamacpp %q {\nn_ctx 4096\n}\nprovider far openai %s\nmodel m {\nto near far\n}\n}", model, upstream(t, good)))
	checkWord(t, g, "near")
	if err := os.Remove(model); err != nil {
		t.Fatal(err)
	}
	kill(t, g.server())
	checkWord(t, g, "far")
	if err := os.WriteFile(model, original, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "model", func() bool {
		a, _ := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "hello", false))
		return a.header.Get("X-LLM-Provider") == "near"
	})
}

// sockets returns the folders for sockets in the gateway's folder.
func (g *gateway) sockets() []string {
	folders, _ := filepath.Glob(filepath.Join(g.dir, "llmgateway-*"))
	return folders
}

func TestKilledCaddyTakesItsModelServerAlong(t *testing.T) {
	g := newGateway(t)
	g.spawn(localSite(t, "preload", ""))
	server := g.server()
	await(t, "model", func() bool { return len(g.logged("engine loaded")) == 1 })
	stale := g.sockets()
	kill(t, g.pid())
	began := time.Now()
	if !eventually(20*time.Second, func() bool { return !alive(server) }) {
		t.Error("the model server lives on")
	}
	t.Logf("the model server ended after %v", time.Since(began))
	g.wait()

	g.spawn(localSite(t, "", ""))
	checkWord(t, g, "near")
	if now := g.sockets(); len(stale) != 1 || len(now) != 1 || stale[0] == now[0] {
		t.Errorf("folders %v, before %v", now, stale)
	}
}

func TestTerminatedCaddyFinishesItsStreams(t *testing.T) {
	g := newGateway(t)
	g.options = "grace_period 20s"
	g.spawn(localSite(t, "", ""))
	streams, server, resume := startCounting(t, g, protocols...)
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, "closed port", func() bool {
		conn, err := net.Dial("tcp", g.address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if !alive(server) || !alive(g.pid()) {
		t.Error("streams are not waited for")
	}
	resume()
	streams.check(t)
	g.wait()
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if alive(server) {
		await(t, "end of the model server", func() bool { return !alive(server) })
	}
	if left := g.sockets(); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestTerminatedCaddyWaitsForStreamsNoLongerThanItMay(t *testing.T) {
	g := newGateway(t)
	g.options = "grace_period 300ms"
	g.spawn(localSite(t, "", ""))
	streams, server, _ := startCounting(t, g, protocols...)
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	g.wait()
	for i, s := range streams.streams {
		if text, err := s.rest(); err == nil || s.done {
			t.Errorf("%s: a stream that was cut looks complete: %q", streams.protocols[i], text)
		}
	}
	if !eventually(20*time.Second, func() bool { return !alive(server) }) {
		t.Error("the model server lives on")
	}
}

func TestTerminatedCaddyDoesNotWaitForAModel(t *testing.T) {
	g := newGateway(t)
	g.options = "grace_period 20s"
	g.spawn(localSite(t, "preload", ""))
	server := g.server()
	pause(t, server)
	began := time.Now()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	g.wait()
	if took := time.Since(began); took > 5*time.Second || !eventually(20*time.Second, func() bool { return !alive(server) }) {
		t.Errorf("ended after %v, the model server lives: %v", took, alive(server))
	}
}

// Two sites that import the same provider, a model that loads by itself, and an environment full of secrets.
func TestSitesShareOneModelServerWithoutSecrets(t *testing.T) {
	g := newGateway(t)
	secrets := map[string]string{
		"OPENAI_API_KEY": "sk-first-0123456789", "HF_API_KEY": "hf_second0123456789", "NVIDIA_API_KEY": "nvapi-third0123456789",
		"AWS_SECRET_ACCESS_KEY": "fourth0123456789", "DATABASE_URL": "postgres://u:fifth0123456789@db/x", "LLMGATEWAY_TEST_KEY": secret,
	}
	for name, value := range secrets {
		g.env = append(g.env, name+"="+value)
	}
	shared := filepath.Join(g.dir, "shared.caddyfile")
	site := localSite(t, "preload", "provider far openai http://127.0.0.1:9/v1 {\napi_key {env.LLMGATEWAY_TEST_KEY}\n}")
	if err := os.WriteFile(shared, []byte(site+"\nllm_health /health\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := freeAddress(t)
	g.more = fmt.Sprintf("http://%s {\nbind 127.0.0.1\nimport %s\n}", second, shared)
	g.spawn("import " + shared)

	server := g.server()
	await(t, "model", func() bool { return strings.Contains(get(t, "http://"+second+"/health"), `"near":{"state":"ready"}`) })
	if loads := len(g.logged("engine loaded")); loads != 1 {
		t.Errorf("loaded %d times", loads)
	}
	checkWord(t, g, "near")
	resp, err := http.Post("http://"+second+"/v1/chat/completions", "application/json", strings.NewReader(chat("m", "The code word is tulip.", false)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if a := (answer{body: string(text)}); a.text() != "The code word is: tulip" {
		t.Errorf("the second site: got %s", text)
	}
	if got := g.servers(); len(got) != 1 || got[0] != server {
		t.Errorf("processes %v, before %d", got, server)
	}
	for _, file := range []string{"environ", "cmdline"} {
		known, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(server), file))
		if err != nil || len(known) == 0 {
			t.Errorf("%s: %q, %v", file, known, err)
		}
		for name, value := range secrets {
			if strings.Contains(string(known), value) || strings.Contains(string(known), name) {
				t.Errorf("the model server's %s has %s", file, name)
			}
		}
	}
	checkNoSecretLogged(t, g)
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

func TestKeepAliveUnloadsAnIdleModel(t *testing.T) {
	g := newGateway(t)
	g.spawn(localSite(t, "keep_alive 200ms", ""))
	streams, server, resume := startCounting(t, g, "HTTP/2.0")
	if eventually(500*time.Millisecond, func() bool { return !alive(server) }) {
		t.Error("unloaded while it is used")
	}
	resume()
	streams.check(t)
	await(t, "unloading", func() bool { return !alive(server) })
	await(t, "clean folder", func() bool { return g.sockets() == nil })
	checkWord(t, g, "near")
}

// Saving takes part of the time that Caddy takes to exit, after everything else has been let go of.
func TestRestartedCaddyKnowsItsConversations(t *testing.T) {
	g := newGateway(t)
	cache := filepath.Join(g.dir, "cache")
	words := "cache_dir " + cache
	g.spawn(localSite(t, words, ""))
	body := chat("m", strings.Repeat("Once upon a time ", 100)+"The code word is maple.", false)
	cached := func() int {
		t.Helper()
		a, err := g.ask(t.Context(), g.client("HTTP/2.0"), body)
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("got %v, %v", a, err)
		}
		var usage struct {
			Usage struct {
				Details struct {
					Cached int `json:"cached_tokens"`
				} `json:"prompt_tokens_details"`
			} `json:"usage"`
		}
		if err := json.Unmarshal([]byte(a.body), &usage); err != nil {
			t.Fatal(err)
		}
		return usage.Usage.Details.Cached
	}
	if got := cached(); got != 0 {
		t.Errorf("the first time %d tokens are cached", got)
	}
	for range 2 {
		server := g.server()
		if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		g.wait()
		if alive(server) || g.sockets() != nil {
			t.Errorf("left over: %v, a process: %v", g.sockets(), alive(server))
		}
		g.spawn(localSite(t, words, ""))
		if got := cached(); got < 300 {
			t.Errorf("after a restart %d tokens are cached", got)
		}
	}
}
