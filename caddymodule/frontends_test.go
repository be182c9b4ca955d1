package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// edits are pairs of a text that is in a configuration once, and what replaces it.
type edits [][2]string

func (e edits) apply(t *testing.T, text string) string {
	t.Helper()
	for _, edit := range e {
		if n := strings.Count(text, edit[0]); n != 1 {
			t.Fatalf("the configuration has %q %d times", edit[0], n)
		}
		text = strings.Replace(text, edit[0], edit[1], 1)
	}
	return text
}

// A frontEnd is a way to write a configuration.
type frontEnd struct {
	name, adapter string
	base          func(t *testing.T, port string) string
	edits         func(frontCase) edits
}

// frontEnds are the user's own config.yaml, but for where it listens, what it runs on and where its services are, and a Caddyfile written by
// hand. It is not the one that the adapter makes.
var frontEnds = []frontEnd{
	{"config.yaml", "llmgateway", func(t *testing.T, port string) string {
		seed, err := os.ReadFile(filepath.Join(repository, "llmgateway/config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return edits{
			{"host: 0.0.0.0", "host: 127.0.0.1"},
			{"port: 7000", "port: " + port},
			{"n_threads: 4", "n_threads: 1"}, // more than there are processors make a model slow
			{"type: huggingface", "type: huggingface\n    base_url: ${HF_BASE_URL}"},
			{"type: openrouter", "type: openrouter\n    base_url: ${OPENROUTER_BASE_URL}"},
		}.apply(t, string(seed))
	}, func(c frontCase) edits { return c.yaml }},
	{"Caddyfile", "caddyfile", func(_ *testing.T, port string) string {
		return strings.ReplaceAll(handWritten, "7000", port)
	}, func(c frontCase) edits { return c.caddyfile }},
}

const handWritten = `http://localhost:7000, http://127.0.0.1:7000 {
	bind 127.0.0.1
	route {
		@foreign {
			header Origin *
			not vars_regexp {header.Origin} ^https?://(localhost|127\.0\.0\.1)(:[0-9]+)?$
		}
		respond @foreign "a page from elsewhere" 403
		llm_health /health*
		@post method POST
		rate_limit @post {
			zone by_hand {
				key all
				events 60
				window 1m
			}
		}
		llm {
			provider local llamacpp {env.LOCAL_MODEL_PATH} {
				n_ctx 4096
				n_threads 1
				n_gpu_layers 0
				f16_kv
				use_mlock
			}
			provider hf huggingface {
				base_url {env.HF_BASE_URL}
				api_key {env.HF_API_KEY}
			}
			provider openrouter openrouter {
				base_url {env.OPENROUTER_BASE_URL}
				api_key {env.OPENROUTER_API_KEY}
			}
			model auto {
				to local hf/{env.HF_MODEL} openrouter/{env.OPENROUTER_MODEL}
			}
			model local {
				to local
			}
			model hf {
				to hf/{env.HF_MODEL}
			}
			model openrouter {
				to openrouter/{env.OPENROUTER_MODEL}
			}
			lb_retries 2
			first_token_timeout 30s
			cache memory {
				max_entries 1000
				ttl 1h
			}
		}
	}
	handle_errors 429 {
		header Content-Type application/json
		respond ` + "`" + `{"error":{"message":"too many requests","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}` + "`" + `
	}
}
http://:7000 {
	bind 127.0.0.1
	respond "not this machine" 421
}
`

// A service is a stand-in for a remote provider.
type service struct {
	answer func(http.ResponseWriter, *http.Request)
	asked  atomic.Int32
	url    string
}

func (s *service) start(t *testing.T) {
	s.answer = good
	s.url = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.answer(w, r)
	})
}

// front is a gateway with some configuration, and its services.
type front struct {
	t              *testing.T
	url            string
	config         []byte // as adapted
	hf, openrouter service
}

// The keys that the services are called with.
const (
	hfKey         = "hf_planted0123456789"
	openrouterKey = "sk-or-planted0123456789"
)

// variables are the environment of a test, as far as its case does not say otherwise.
func (f *front) variables() map[string]string {
	return map[string]string{
		"LOCAL_MODEL_PATH": "",
		"HF_API_KEY":       hfKey, "HF_MODEL": "some/model", "HF_BASE_URL": f.hf.url,
		"OPENROUTER_API_KEY": openrouterKey, "OPENROUTER_MODEL": "other/model", "OPENROUTER_BASE_URL": f.openrouter.url,
	}
}

// startFront starts a gateway in this process. It ends with the test.
func startFront(t *testing.T, end frontEnd, c frontCase) *front {
	t.Helper()
	g := newGateway(t)
	f := &front{t: t, url: "http://" + g.address}
	f.hf.start(t)
	f.openrouter.start(t)
	if c.services != nil {
		c.services(f)
	}
	t.Setenv("XDG_RUNTIME_DIR", g.dir)
	variables := f.variables()
	maps.Copy(variables, c.env)
	for name, value := range variables {
		t.Setenv(name, value)
	}
	_, port, _ := net.SplitHostPort(g.address)
	text := end.edits(c).apply(t, end.base(t, port))
	config, _, err := caddyconfig.GetAdapter(end.adapter).Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	f.config = config
	var parsed map[string]any
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	parsed["admin"] = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	parsed["storage"] = map[string]any{"module": "file_system", "root": filepath.Join(g.dir, "storage")}
	parsed["logging"] = map[string]any{"logs": map[string]any{"default": map[string]any{
		"level": "DEBUG", "writer": map[string]any{"output": "file", "filename": g.logFile(), "roll": false},
	}}}
	config, err = json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	return f
}

// frontClient makes a connection for each request: the next gateway may have the same address.
var frontClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// send sends a request with further headers, each written as "Name: value".
func (f *front) send(method, path, body string, headers ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	resp, err := frontClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// ask asks for a chat completion.
func (f *front) ask(body string, headers ...string) answer {
	f.t.Helper()
	return f.send(http.MethodPost, "/v1/chat/completions", body, headers...)
}

// answered fails the test if not that provider has answered.
func (f *front) answered(a answer, provider string) {
	f.t.Helper()
	if a.status != http.StatusOK || a.header.Get("X-LLM-Provider") != provider {
		f.t.Errorf("got %d from %q: %s; want an answer from %s", a.status, a.header.Get("X-LLM-Provider"), a.body, provider)
	}
}

// refused fails the test if the answer is not an error with the status and these words in its message.
func (f *front) refused(a answer, status int, words ...string) {
	f.t.Helper()
	for _, word := range append(words, "") {
		if a.status != status || !strings.Contains(a.message(), word) {
			f.t.Errorf("got %d %s; want %d and %q", a.status, a.body, status, word)
		}
	}
}

// counted fails the test if the services were not asked so often.
func (f *front) counted(hf, openrouter int32) {
	f.t.Helper()
	if h, o := f.hf.asked.Load(), f.openrouter.asked.Load(); h != hf || o != openrouter {
		f.t.Errorf("hf was asked %d times, openrouter %d times; want %d and %d", h, o, hf, openrouter)
	}
}

// outOfOrder answers with an error.
func outOfOrder(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, `{"error":{"message":"out of order"}}`, http.StatusInternalServerError)
}

// stuck never answers.
func stuck(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // or the connection's end is not noticed
	<-r.Context().Done()
}

// A frontCase is how the gateway behaves with some configuration, however it is written.
type frontCase struct {
	name            string
	yaml, caddyfile edits
	env             map[string]string
	services        func(*front)
	check           func(*testing.T, *front)
}

// TestConfigFileAndCaddyfileBehaveAlike has one table for both ways to write a configuration.
func TestConfigFileAndCaddyfileBehaveAlike(t *testing.T) {
	for _, c := range frontCases {
		t.Run(c.name, func(t *testing.T) {
			for _, end := range frontEnds {
				t.Run(end.name, func(t *testing.T) {
					if c.env["LOCAL_MODEL_PATH"] == "starter" {
						c.env = map[string]string{"LOCAL_MODEL_PATH": starterModel(t)}
					}
					c.check(t, startFront(t, end, c))
				})
			}
		})
	}
}

var withStarter = map[string]string{"LOCAL_MODEL_PATH": "starter"} // by TestConfigFileAndCaddyfileBehaveAlike

// hello is a request with a prompt of its own for each number.
func hello(model string, number int, members ...string) string {
	return chat(model, fmt.Sprintf("hello %d", number), false, members...)
}

// names returns the models that are listed.
func (f *front) names() string {
	f.t.Helper()
	var names []string
	for _, id := range gjson.Get(f.send(http.MethodGet, "/v1/models", "").body, "data.#.id").Array() {
		names = append(names, id.Str)
	}
	return strings.Join(names, " ")
}
