package caddymodule

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// block is a block of the syntax: where it stands, and each of its words with arguments that are right.
type block struct {
	name       string
	around     string // %s is a line of the block
	words      map[string]string
	repeatable []string
	// missing are words that need no argument; more are words that take any number.
	missing, more []string
	// wrong are arguments that are not right.
	wrong map[string][]string
}

var (
	notANumber   = []string{"-1", "many", "4k", "1.5", "0x10"}
	notADuration = []string{"10", "-1s", "soon"}
	cached       = map[string]string{"ttl": "1h", "max_answer": "1MiB", "only_deterministic": "true"}
	loadBalanced = map[string]string{
		"lb_policy": "first", "lb_retries": "0", "lb_try_duration": "0s", "lb_try_interval": "1s", "hedge_after": "1s", "hedge_budget": "5",
		"fail_duration": "10s", "max_fails": "2", "max_fail_rate": "50", "unhealthy_status": "5xx", "unhealthy_latency": "5s",
		"unhealthy_request_count": "4", "health_interval": "10s", "health_timeout": "2s",
	}
	notBalanced = map[string][]string{
		"lb_policy": {"fastest"}, "lb_retries": notANumber, "lb_try_duration": notADuration, "lb_try_interval": notADuration,
		"hedge_after": notADuration, "hedge_budget": {"101", "-1", "some"}, "fail_duration": notADuration, "max_fails": notANumber,
		"max_fail_rate": {"101", "-1", "some"}, "unhealthy_status": {"bad"}, "unhealthy_latency": notADuration,
		"unhealthy_request_count": notANumber, "health_interval": notADuration, "health_timeout": notADuration,
	}
)

var blocks = []block{
	{
		name:   "llm",
		around: "%s",
		words: with(loadBalanced, map[string]string{
			"provider": "another echo", "model": "another", "first_token_timeout": "1s", "stream_idle_timeout": "1s", "timeout": "0s",
			"ping_interval": "1s", "cache": "memory", "resume": "on", "client": "bytebot",
		}),
		repeatable: []string{"provider", "model"},
		more:       []string{"model"},
		wrong: with(notBalanced, map[string][]string{
			"first_token_timeout": notADuration, "stream_idle_timeout": notADuration, "timeout": notADuration,
			"ping_interval": notADuration, "cache": {"disk"}, "resume": {"maybe"}, "client": {"somebody"},
		}),
	},
	{
		name:    "cache memory",
		around:  "cache memory {\n%s\n}",
		words:   with(cached, map[string]string{"size": "1MiB", "max_entries": "1"}),
		missing: []string{"only_deterministic"},
		wrong: map[string][]string{
			"size": {"large"}, "max_entries": notANumber, "ttl": notADuration, "max_answer": {"-1"}, "only_deterministic": {"maybe"},
		},
	},
	{
		name:    "cache redis",
		around:  "cache redis {\n%s\n}",
		words:   with(cached, map[string]string{"url": "redis://localhost"}),
		missing: []string{"only_deterministic"},
		wrong:   map[string][]string{"ttl": notADuration, "max_answer": {"-1"}, "only_deterministic": {"maybe"}},
	},
	{
		name:       "a model",
		around:     "model another {\n%s\n}",
		words:      with(loadBalanced, map[string]string{"to": "echo", "mirror": "echo 10", "auto_pick": "off"}),
		repeatable: []string{"to"},
		more:       []string{"to"},
		wrong:      with(notBalanced, map[string][]string{"auto_pick": {"yes", "false"}}),
	},
	{
		name:   "a target",
		around: "model another {\nto echo {\n%s\n}\n}",
		words: map[string]string{
			"first_token_timeout": "1s", "stream_idle_timeout": "1s", "timeout": "0s", "context": "4096", "capabilities": "tools",
			"price": "1 2", "when": "tokens above 100",
		},
		repeatable: []string{"when"},
		wrong: map[string][]string{
			"first_token_timeout": notADuration, "stream_idle_timeout": notADuration, "timeout": notADuration, "context": notANumber,
			"capabilities": {"magic"}, "price": {"free 1", "-1 2"}, "when": {"magic", "tokens about 1", "tokens above many"},
		},
	},
	{
		name:       "a provider",
		around:     "provider own openai {\n%s\n}",
		words:      map[string]string{"base_url": "http://localhost", "api_key": "{env.KEY}", "header": "X-Title title", "endpoints": "chat messages", "transport": "http"},
		repeatable: []string{"header"},
		more:       []string{"endpoints", "transport"}, // Caddy's own does not check
		wrong:      map[string][]string{"transport": {"smoke_signals"}, "header": {"X-Title"}},
	},
	{
		name:   "provider llamacpp",
		around: "provider local llamacpp some.gguf {\n%s\n}",
		words: map[string]string{
			"n_ctx": "4096", "n_batch": "512", "n_threads": "0", "n_gpu_layers": "all", "n_parallel": "2", "max_queue": "0", "mmproj": "p.gguf",
			"f16_kv": "false", "cache_type_k": "q8_0", "cache_type_v": "q8_0", "cache_ram": "512MiB", "embeddings": "mean", "use_mlock": "false",
			"use_mmap": "false", "preload": "false", "keep_alive": "0s", "llama_server": "/bin/llama-server", "args": "--seed 1",
			"max_wait": "1s", "cache_dir": "cache", "n_ubatch": "512", "n_threads_batch": "4", "n_cpu_moe": "3", "flash_attn": "on",
			"split_mode": "row", "tensor_split": "3,1", "main_gpu": "0", "rope_scaling": "yarn", "rope_scale": "4",
			"rope_freq_base": "10000", "lora": "l.gguf", "model_draft": "d.gguf", "n_draft": "8", "chat_template": "chatml",
			"chat_template_file": "t.jinja", "reasoning_format": "deepseek", "reasoning_budget": "0",
		},
		repeatable: []string{"args", "lora"},
		missing:    []string{"f16_kv", "use_mlock", "use_mmap", "preload", "embeddings"},
		more:       []string{"args"},
		wrong: map[string][]string{
			"n_ctx": notANumber, "n_batch": notANumber, "n_threads": notANumber, "n_parallel": notANumber, "max_queue": notANumber,
			"f16_kv": {"maybe", "1"}, "use_mlock": {"TRUE"}, "use_mmap": {"off"}, "preload": {"true starter"},
			"cache_ram": {"much", "-1GiB", "16EiB", "10EiB"}, "keep_alive": notADuration, "max_wait": notADuration,
			"n_ubatch": notANumber, "n_threads_batch": notANumber, "n_cpu_moe": notANumber, "main_gpu": notANumber, "n_draft": notANumber,
			"rope_scale": {"large"}, "rope_freq_base": {"low"}, "reasoning_budget": {"some"}, "lora": {"l.gguf much"},
		},
	},
}

// with returns the members of both.
func with[V any](a, b map[string]V) map[string]V {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// parse parses a line of a block and returns the error without its place.
func (b block) parse(lines ...string) string {
	text := fmt.Sprintf(":8080 {\nllm {\nprovider echo echo\n"+b.around+"\n}\n}\n", strings.Join(lines, "\n"))
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err == nil {
		return ""
	}
	message := strings.TrimPrefix(err.Error(), "parsing caddyfile tokens for 'llm': ")
	return regexp.MustCompile(`, at Caddyfile:\d+.*$`).ReplaceAllString(message, "")
}

func TestUnknownWordsNameTheKnownOnes(t *testing.T) {
	for _, b := range blocks {
		t.Run(b.name, func(t *testing.T) {
			message := b.parse("colour green")
			known, ok := strings.CutPrefix(message, "unrecognized word colour in "+b.name+"; there are: ")
			if !ok {
				t.Fatalf("got %q", message)
			}
			got := strings.Split(known, ", ")
			slices.Sort(got)
			var want []string
			for word := range b.words {
				want = append(want, word)
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			// A known word before it does not hide it.
			for word, args := range b.words {
				if message := b.parse(word+" "+args, "colour green"); !strings.HasPrefix(message, "unrecognized word colour") {
					t.Errorf("behind %s: got %q", word, message)
				}
			}
		})
	}
}

func TestWordsCheckTheirArguments(t *testing.T) {
	const count = "wrong argument count or unexpected line ending after"
	for _, b := range blocks {
		for word, args := range b.words {
			t.Run(b.name+"/"+word, func(t *testing.T) {
				line := word + " " + args
				if message := b.parse(line); message != "" {
					t.Errorf("%s: got %q", line, message)
				}
				if message, want := b.parse(line, line), word+" is already set"; slices.Contains(b.repeatable, word) != (message != want) {
					t.Errorf("%s, twice: got %q", line, message)
				}
				if message := b.parse(word); slices.Contains(b.missing, word) != (message == "") || message != "" && !strings.HasPrefix(message, count) && !strings.HasPrefix(message, word+": ") {
					t.Errorf("%s: got %q", word, message)
				}
				if message := b.parse(line + " more"); slices.Contains(b.more, word) != (message == "") {
					t.Errorf("%s more: got %q", line, message)
				}
				for _, wrong := range b.wrong[word] {
					if message := b.parse(word + " " + wrong); message == "" || !strings.Contains(message, wrong) && !strings.Contains(message, word) {
						t.Errorf("%s %s: got %q", word, wrong, message)
					}
				}
			})
		}
	}
}

func TestEveryWordIsDocumented(t *testing.T) {
	documented := syntax(t, "caddyfile.go", "Handler") + syntax(t, "llamacpp_caddyfile.go", "LlamaCPP") +
		syntax(t, "caches.go", "MemoryCache") + syntax(t, "caches.go", "RedisCache")
	for _, b := range blocks {
		for word := range b.words {
			if !regexp.MustCompile(`(?m)^\s*` + word + `\b`).MatchString(documented) {
				t.Errorf("%s of %s is not documented", word, b.name)
			}
		}
	}
}

// TestJSONIsCheckedLikeACaddyfile has mistakes that a Caddyfile cannot have.
func TestJSONIsCheckedLikeACaddyfile(t *testing.T) {
	const echo = `"providers":{"echo":{"type":"echo"}}`
	for config, want := range map[string]string{
		`{"models":{"m":{"targets":[{"provider":"echo"}]}}}`: `model m: target "echo": no such provider; there are: []`,
		`{` + echo + `,"models":{"m":null}}`:                 "model m: no targets",
		`{` + echo + `,"models":{"m":{}}}`:                   "model m: no targets",
		`{` + echo + `,"models":{"m":{"targets":[null]}}}`:   "model m: target 1 is empty",
		`{` + echo + `,"models":{"m":{"targets":[{"provider":"echo"}],"load_balancing":{"selection_policy":{"policy":"fastest"}}}}}`: "unknown module: llm.selection_policies.fastest",
		`{"providers":{"x":{"type":"smoke"}},"models":{"m":{"targets":[{"provider":"x"}]}}}`:                                         "unknown module: llm.providers.smoke",
		`{"providers":{"x":{"type":"llamacpp"}},"models":{"m":{"targets":[{"provider":"x"}]}}}`:                                      "a model file is needed",
		`{"providers":{"x":{"type":"llamacpp","path":"x.gguf","n_ctx":-1}},"models":{"m":{"targets":[{"provider":"x"}]}}}`:           "n_ctx -1 is negative",
		`{` + echo + `,"models":{"m":{"targets":[{"provider":"echo"}]}},"colour":"green"}`:                                           `unknown field "colour"`,
	} {
		handler := `{"handler":"llm",` + strings.TrimPrefix(config, "{")
		err := validated([]byte(`{"apps":{"http":{"servers":{"s":{"listen":[":8080"],"routes":[{"handle":[` + handler + `]}]}}}}}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", config, err, want)
		}
	}
}

// TestSecretsStayPlaceholders looks for keys wherever a configuration can be seen.
func TestSecretsStayPlaceholders(t *testing.T) {
	const fromEnv, fromFile, inHeader = "sk-secret-of-the-environment", "sk-secret-of-a-file", "secret-of-a-header"
	t.Setenv("LLMGATEWAY_TEST_KEY", fromEnv)
	t.Setenv("LLMGATEWAY_TEST_HEADER", inHeader)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(fromFile+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	received := make(chan http.Header, 2)
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		received <- r.Header
		good(w, r)
	})
	site := fmt.Sprintf(`
		llm_health /health
		llm {
			provider env openai %[1]s {
				api_key {env.LLMGATEWAY_TEST_KEY}
				header X-Secret {env.LLMGATEWAY_TEST_HEADER}
			}
			provider file openai %[1]s {
				api_key {file.%[2]s}
			}
			model env {
				to env
			}
			model file {
				to file
			}
		}`, url, file)
	g := newGateway(t)
	seen := map[string]string{"adapted": string(adapt(t, g.caddyfile(site)))}
	g.start(site)
	client := g.client("HTTP/1.1")
	for _, model := range []string{"env", "file"} {
		req := g.request(t.Context(), `{"model":"`+model+`"}`)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		seen["answer of "+model] = fmt.Sprint(resp.Header, string(answer))
	}
	if first := <-received; first.Get("Authorization") != "Bearer "+fromEnv || first.Get("X-Secret") != inHeader {
		t.Errorf("the provider received %v", first)
	}
	if second := <-received; second.Get("Authorization") != "Bearer "+fromFile {
		t.Errorf("the provider received %v", second)
	}
	for what, at := range map[string]string{
		"/config/": "http://" + g.admin + "/config/", "/health": "https://" + strings.Replace(g.address, "127.0.0.1", "localhost", 1) + "/health",
		"metrics": "http://" + g.admin + "/metrics", "variables": "http://" + g.admin + "/debug/vars",
	} {
		c := adminClient
		if what == "/health" {
			c = client
		}
		resp, err := c.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		seen[what] = string(text)
	}
	log, err := os.ReadFile(g.logFile())
	if err != nil {
		t.Fatal(err)
	}
	seen["log"] = string(log)
	for where, text := range seen {
		for _, secret := range []string{fromEnv, fromFile, inHeader} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %s is there", where, secret)
			}
		}
	}
	for _, where := range []string{"adapted", "/config/"} {
		for _, placeholder := range []string{"{env.LLMGATEWAY_TEST_KEY}", "{env.LLMGATEWAY_TEST_HEADER}", "{file." + file + "}"} {
			if !strings.Contains(seen[where], placeholder) {
				t.Errorf("%s: %s is not there", where, placeholder)
			}
		}
	}
}
