package docs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/bytebot-llmgateway/bytebot-llmgateway"
)

// A recipe is a section of recipes.md: a Caddyfile, and commands that ask it something.
type recipe struct {
	caddyfile string
	commands  []string
}

// recipes returns the sections that have a Caddyfile, by their headings.
func recipes(t *testing.T) map[string]recipe {
	t.Helper()
	text, err := os.ReadFile("recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]recipe{}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		var r recipe
		for _, block := range blocks(body) {
			switch block.language {
			case "caddyfile":
				r.caddyfile += block.text
			case "sh":
				r.commands = append(r.commands, strings.Split(strings.TrimSpace(block.text), "\n")...)
			}
		}
		all[heading] = r
	}
	return all
}

// providers stands in for all providers of a recipe: it answers as each of them, unless it is down.
type providers struct {
	mu   sync.Mutex
	down map[string]bool
	seen map[string]int
}

func (p *providers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.Split(r.URL.Path, "/")[1]
	p.mu.Lock()
	p.seen[name]++
	down := p.down[name]
	p.mu.Unlock()
	var request struct {
		Model  string
		Stream bool
	}
	body, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(body, &request); err != nil || down {
		http.Error(w, `{"error":{"message":"down"}}`, http.StatusServiceUnavailable)
		return
	}
	if request.Stream {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hello\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", request.Model)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"id":"x","object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}`, request.Model)
}

func (p *providers) set(down ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = map[string]bool{}
	for _, name := range down {
		p.down[name] = true
	}
}

func (p *providers) count(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[name]
}

// Global options that keep a test to itself.
const quiet = "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\toutput discard\n\t}\n}\n"

// kitchen is a recipe that runs.
type kitchen struct {
	*providers
	t       *testing.T
	address string
	recipe  recipe
}

// cook starts a recipe as it is written, but for its address and those of its providers.
func cook(t *testing.T, heading string) *kitchen {
	t.Helper()
	r, ok := recipes(t)[heading]
	if !ok || r.caddyfile == "" || len(r.commands) == 0 {
		t.Fatalf("recipes.md has no recipe %q", heading)
	}
	for name, value := range map[string]string{
		"HF_API_KEY": "hf-key", "OPENROUTER_API_KEY": "openrouter-key",
		"STAFF_KEY": "staff-key-0123456789", "WEBSITE_KEY": "website-key-0123456789",
	} {
		t.Setenv(name, value)
	}
	k := &kitchen{providers: &providers{seen: map[string]int{}}, t: t, recipe: r}
	server := httptest.NewServer(k.providers)
	t.Cleanup(server.Close)
	k.address = freeAddress(t)

	text := strings.Replace(r.caddyfile, "http://localhost:7000", "http://"+k.address, 1)
	local := regexp.MustCompile(`(?m)^(\t+)provider local llamacpp \S+( \{\n(?:.*\n)*?\t+\})?\n`)
	text = local.ReplaceAllString(text, "${1}provider local openai "+server.URL+"/local\n")
	remote := regexp.MustCompile(`(?m)^(\t+)provider (\w+) (?:huggingface|openrouter) \{\n`)
	text = remote.ReplaceAllString(text, "${1}provider $2 openai "+server.URL+"/$2 {\n")
	if err := caddy.Load(adapt(t, quiet+text), true); err != nil {
		t.Fatalf("%v, with\n%s", err, text)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	return k
}

// ask types one of the recipe's commands and returns what it prints, headers first.
func (k *kitchen) ask(command int) string {
	k.t.Helper()
	line := strings.Replace(k.recipe.commands[command], "http://localhost:7000", "http://"+k.address, 1)
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "bash", "-c", line).CombinedOutput()
	if err != nil {
		k.t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// want checks who answers a command; nobody does if the name is empty.
func (k *kitchen) want(command int, provider string) {
	k.t.Helper()
	out := k.ask(command)
	answered := strings.HasPrefix(out, "HTTP/1.1 200 ") && strings.Contains(out, `"content":"Hello"`)
	if provider == "" && !answered {
		return
	}
	if !answered || !strings.Contains(out, "\nX-Llm-Provider: "+provider+"\r\n") {
		k.t.Errorf("command %d: want an answer of %q, got\n%s", command, provider, out)
	}
}

func TestRecipeLocalFirst(t *testing.T) {
	k := cook(t, "Local first, and a remote model when that is not enough")
	k.want(0, "local")
	k.want(1, "hf")
	k.set("local")
	k.want(0, "hf")
	k.set("local", "hf")
	k.want(0, "openrouter")
	k.want(1, "")
}

func TestRecipeShareTheLoad(t *testing.T) {
	k := cook(t, "Two remote providers share the load")
	for range 6 {
		k.ask(0)
	}
	if got := [2]int{k.count("openrouter"), k.count("hf")}; got != [2]int{4, 2} {
		t.Errorf("of six requests these many each: %v", got)
	}
	k.set("openrouter")
	for range 3 {
		k.want(0, "hf")
	}
	if k.count("openrouter") > 5 {
		t.Error("who is down is asked again and again")
	}
}

func TestRecipeNewModelBesideTheOld(t *testing.T) {
	k := cook(t, "A new model beside the old")
	k.want(0, "hf")
	asked := 1
	for range 300 { // 0.9^300 is no chance at all
		if k.count("hf") > asked {
			break
		}
		k.request("auto", "local")
	}
	deadline := time.Now().Add(30 * time.Second)
	for k.count("hf") == asked && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if k.count("hf") == asked {
		t.Error("the candidate gets no copies")
	}
	k.set("hf")
	k.want(1, "local")
}

// request asks for a model without a program of its own, for many requests.
func (k *kitchen) request(model, provider string) {
	k.t.Helper()
	body := strings.NewReader(fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"Hello"}]}`, model))
	req, err := http.NewRequestWithContext(k.t.Context(), http.MethodPost, "http://"+k.address+"/v1/chat/completions", body)
	if err != nil {
		k.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if got := resp.Header.Get("X-LLM-Provider"); got != provider {
		k.t.Fatalf("%s answers %d", got, resp.StatusCode)
	}
}

func TestRecipeDataStaysInside(t *testing.T) {
	k := cook(t, "Data that stays inside")
	k.want(0, "local")
	k.want(1, "local")
	k.set("local")
	k.want(0, "")
	if k.count("openrouter") > 0 {
		t.Error("what must stay inside went outside")
	}
	k.want(1, "openrouter")

	// Each key is for its own model only.
	k.set()
	before := k.count("local")
	k.recipe.commands[0] = strings.Replace(k.recipe.commands[0], `"auto"`, `"public"`, 1)
	k.recipe.commands[1] = strings.Replace(k.recipe.commands[1], `"public"`, `"auto"`, 1)
	k.want(0, "")
	k.want(1, "")
	if k.count("local") != before {
		t.Error("a key opens a model that it is not for")
	}
}

// TestFirstStepsAreAnswered types what the READMEs ask of the gateway.
func TestFirstStepsAreAnswered(t *testing.T) {
	k := cook(t, "Local first, and a remote model when that is not enough")
	k.recipe.commands = nil
	for path, text := range documents(t) {
		if filepath.Dir(path) != root {
			continue
		}
		for _, command := range commands(text) {
			if strings.HasPrefix(command, "curl http://localhost:7000/") {
				k.recipe.commands = append(k.recipe.commands, strings.Replace(command, "curl ", "curl --silent --show-error --include ", 1))
			}
		}
	}
	if len(k.recipe.commands) < 2 {
		t.Errorf("the READMEs ask %q", k.recipe.commands)
	}
	for i := range k.recipe.commands {
		k.want(i, "local")
	}
}

// TestRecipesAreValid checks each Caddyfile as it is written, with Caddy's own validation, and that it is formatted.
func TestRecipesAreValid(t *testing.T) {
	for name, value := range map[string]string{"STAFF_KEY": "staff-key-0123456789", "WEBSITE_KEY": "website-key-0123456789"} {
		t.Setenv(name, value)
	}
	for heading, r := range recipes(t) {
		t.Run(heading, func(t *testing.T) {
			t.Setenv("LOCAL_MODEL_PATH", filepath.Join(mustAbs(t, root), "models", "starter.gguf"))
			var config caddy.Config
			if err := json.Unmarshal(adapt(t, quiet+r.caddyfile), &config); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(&config); err != nil {
				t.Error(err)
			}
		})
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// adapt returns a Caddyfile as JSON; warnings, of which the formatter's is one, are errors.
func adapt(t *testing.T, text string) []byte {
	t.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v in\n%s", err, warnings, text)
	}
	return config
}

// freeAddress returns an address of this machine on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
