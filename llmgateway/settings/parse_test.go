package settings

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const minimal = "providers:\n  - {name: a, type: llama.cpp, model_path: models/starter.gguf}\n"

// remote is a file with a provider that has further fields.
func remote(fields ...string) string {
	return "providers:\n  - name: a\n    type: huggingface\n    api_key: ${KEY}\n    model: m\n    " + strings.Join(fields, "\n    ") + "\n"
}

// right are files that are read.
var right = map[string]string{
	"all fields": `
server: {host: localhost, port: 8080, log_level: debug}
clients:
  - {name: ann, api_key: "${ANN_KEY}"}
  - {name: ci, api_key: "{file./run/secrets/ci}"}
providers:
  - name: local
    type: llama.cpp
    enabled: false
    model_path: ${DIR}/x.gguf
    params: {n_ctx: 1, n_batch: 2, n_threads: 3, n_gpu_layers: all, n_parallel: 4, f16_kv: false, use_mlock: true, use_mmap: false, mmproj: p.gguf, embeddings: true}
  - name: hf
    type: huggingface
    base_url: https://example.com/v1
    api_key: "{file./run/secrets/hf}"
    model: a/b
  - name: or
    type: openrouter
    api_key: "{env.KEY}"
    model: ${MODEL:-a/b:free}
  - name: mine
    type: openai-compatible
    base_url: ${URL}
    model: m
auto_pick: {enabled: false, priority: [mine, hf], timeout_ms: 1, max_retries: 0}
cache: {enabled: false, max_size: 1, ttl_seconds: 1}
rate_limit: {enabled: false, requests_per_minute: 1}
`,
	"sections that are empty": "server:\nauto_pick:\ncache:\nrate_limit:\n" + minimal,
	"an anchor":               "providers:\n  - &a {name: a, type: llama.cpp, model_path: &m x.gguf}\n  - {name: b, type: llama.cpp, model_path: *m}\n",
	"variables with defaults": "server:\n  port: ${NO_SUCH_PORT:-7001}\n  host: ${NO_SUCH_HOST:-::1}\ncache:\n  enabled: ${NO_SUCH:-true}\n" + minimal,
}

// wrong are files that are refused. The place is where the first problem is. The form of some is wrong by itself, so that an
// editor can tell.
var wrong = []struct {
	name, text string
	line, col  int
	message    string
	form       bool
}{
	{"unknown field", remote("modell: x"), 6, 5, `providers[0]: there is no field "modell" (did you mean model?); there are: name, type, enabled, model,`, true},
	{"unknown section", "provider: []\n" + minimal, 1, 1, `there is no field "provider" (did you mean providers?)`, true},
	{"unlike any field", "frobnication: 1\n" + minimal, 1, 1, `there is no field "frobnication"; there are: server, clients, providers`, true},
	{"swapped letters", "server:\n  prot: 1\n" + minimal, 2, 3, "did you mean port?", true},
	{"unknown parameter", "providers:\n  - {name: a, type: llama.cpp, model_path: x, params: {n_ctxx: 1}}\n", 2, 56, "providers[0].params: there is no field", true},
	{"unknown type", "providers:\n  - name: a\n    type: openai\n    model: x\n", 3, 11, `providers[0].type: there is no "openai"`, true},
	{"misspelt type", "providers:\n  - name: a\n    type: hugginface\n    model: x\n", 3, 11, "did you mean huggingface?", true},
	{"unknown level", "server:\n  log_level: INFO\n" + minimal, 2, 14, `there is no "INFO"`, true},
	{"field twice", remote("model: x"), 6, 5, "providers[0].model: it is already set in line 5", false},
	{"no provider", "server:\n  port: 1\n", 1, 1, "providers: there must be at least one", true},
	{"empty list", "providers: []\n", 1, 12, "there must be at least one", true},
	{"no name", "providers:\n  - type: llama.cpp\n    model_path: x\n", 2, 5, "providers[0]: the provider has no name", true},
	{"no type", "providers:\n  - name: a\n", 2, 5, "providers[0]: the provider has no type; there are: llama.cpp,", true},
	{"no model", "providers:\n  - name: a\n    type: openrouter\n    api_key: ${K}\n", 2, 5, "a provider of the type openrouter needs model", true},
	{"no key", "providers:\n  - name: a\n    type: openrouter\n    model: m\n", 2, 5, "needs api_key, such as api_key: ${OPENROUTER_API_KEY}", true},
	{"no URL", "providers:\n  - name: a\n    type: openai-compatible\n    model: m\n", 2, 5, "needs base_url", true},
	{"no file", "providers:\n  - name: a\n    type: llama.cpp\n", 2, 5, "needs model_path", true},
	{"file of a service", remote("model_path: x"), 6, 17, "providers[0].model_path: it has no meaning for a provider of the type huggingface", true},
	{"parameters of a service", remote("params: {n_ctx: 1}"), 6, 13, "only the type llama.cpp runs a model", true},
	{"key of a file", "providers:\n  - name: a\n    type: llama.cpp\n    model_path: x\n    api_key: ${K}\n", 5, 14, "providers[0].api_key: it has no meaning", true},
	{"literal key", "providers:\n  - name: a\n    type: huggingface\n    api_key: hf_planted\n    model: m\n", 4, 14, "api_key: write the variable that the key is in", true},
	{"key with a default", "providers:\n  - name: a\n    type: huggingface\n    api_key: ${K:-hf_planted}\n    model: m\n", 4, 14, "a secret has no default", true},
	{"part of a key", "providers:\n  - name: a\n    type: huggingface\n    api_key: hf_planted${K}\n    model: m\n", 4, 14, "write the variable", true},
	{"key elsewhere", "providers:\n  - name: a\n    type: llama.cpp\n    model_path: ${HF_API_KEY:-x}\n", 4, 17, "HF_API_KEY, by its name a secret", false},
	{"value missing", remote("enabled:"), 6, 5, "providers[0].enabled: there is no value", true},
	{"empty model", "providers:\n  - name: a\n    type: llama.cpp\n    model_path: ''\n", 4, 17, "providers[0].model_path: there is no value", true},
	{"folder", "providers:\n  - name: a\n    type: llama.cpp\n    model_path: models/\n", 4, 17, "providers[0].model_path: write a file", false},
	{"empty item", "providers:\n  -\n", 2, 4, "providers[0]: the item is empty", true},
	{"same name", minimal + "  - {name: a, type: llama.cpp, model_path: y}\n", 3, 12, "there is a provider a already", false},
	{"name auto", "providers:\n  - {name: auto, type: llama.cpp, model_path: y}\n", 2, 12, "auto is what clients ask for", false},
	{"name with a slash", "providers:\n  - {name: a/b, type: llama.cpp, model_path: y}\n", 2, 12, "write letters, digits", true},
	{"no client", "clients: []\n" + minimal, 1, 10, "clients: nobody is in the list", true},
	{"client without a name", "clients:\n  - api_key: ${K}\n" + minimal, 2, 5, "clients[0]: the client has no name", true},
	{"client without a key", "clients:\n  - name: ann\n" + minimal, 2, 5, "clients[0]: a client needs api_key", true},
	{"client's literal key", "clients:\n  - {name: ann, api_key: planted}\n" + minimal, 2, 26, "clients[0].api_key: write the variable", true},
	{"client's name", "clients:\n  - {name: ann b, api_key: '${K}'}\n" + minimal, 2, 12, "clients[0].name: write letters", true},
	{"client twice", "clients:\n  - {name: ann, api_key: '${K}'}\n  - {name: ann, api_key: '${L}'}\n" + minimal, 3, 12, "clients[1].name: there is a client ann already", false},
	{"clients without a value", "clients:\n" + minimal, 1, 1, "clients: there is no value", true},
	{"port too high", "server:\n  port: 70000\n" + minimal, 2, 9, "server.port: 70000 is not between 1 and 65535", true},
	{"port no number", "server:\n  port: http\n" + minimal, 2, 9, `server.port: "http" is not a whole number`, true},
	{"no such port", "server:\n  port: ${NO_SUCH_PORT}\n" + minimal, 2, 9, "the variable NO_SUCH_PORT is not set", false},
	{"host", "server:\n  host: \"*\"\n" + minimal, 2, 9, "server.host: write an address", false},
	{"neither true nor false", "cache:\n  enabled: yes please\n" + minimal, 2, 12, `"yes please" is neither true nor false`, true},
	{"layers", "providers:\n  - {name: a, type: llama.cpp, model_path: x, params: {n_gpu_layers: -2}}\n", 2, 70, "write a number from 0 up, or all", true},
	{"zero cache", "cache:\n  max_size: 0\n" + minimal, 2, 13, "cache.max_size: 0 is not between", true},
	{"list for a section", "cache: [1]\n" + minimal, 1, 8, "cache: there is a list here; there are fields to be: enabled, max_size, ttl_seconds", true},
	{"fields for a list", "providers:\n  a: {}\n", 2, 3, "providers: there are fields here; write a list", true},
	{"fields for a value", "server:\n  host: {a: 1}\n" + minimal, 2, 9, "server.host: there are fields here; write a single value", true},
	{"list for the file", "- a\n", 1, 1, "there is a list here", true},
	{"unknown name in the order", "auto_pick:\n  priority: [b, a]\nproviders:\n  - {name: a, type: llama.cpp, model_path: x}\n", 2, 14, `auto_pick.priority[0]: there is no provider "b" (did you mean a?); there are: a`, false},
	{"name twice in the order", "auto_pick:\n  priority: [a, a]\n" + minimal, 2, 17, "auto_pick.priority[1]: a is in the list already", false},
	{"nobody in the order", "auto_pick:\n  priority: []\n" + minimal, 2, 13, "auto_pick.priority: none of these providers is switched on", false},
	{"all off", "providers:\n  - {name: a, type: llama.cpp, model_path: x, enabled: false}\n", 2, 3, "providers: all of them are switched off", false},
	{"no such variable form", remote("base_url: ${A-b}"), 6, 15, "a variable is written ${NAME} or ${NAME:-default}", false},
	{"open variable", remote("base_url: ${A"), 6, 15, "the } of ${ is missing", false},
	{"Caddyfile variable", remote("base_url: '{$A}'"), 6, 15, "write ${NAME}, not {$NAME}", false},
	{"other placeholder", remote("base_url: 'http://{http.request.host}/'"), 6, 15, "of placeholders there are", false},
	{"other URL", remote("base_url: ftp://x/"), 6, 15, "write a URL such as https://", false},
	{"URL with a user", remote("base_url: http://u:planted@x/"), 6, 15, "write the URL without a user", false},
	{"line break", remote(`base_url: "http://x/\n"`), 6, 15, "write it in one line", false},
	{"backquote", "providers:\n  - {name: a, type: llama.cpp, model_path: \"a`b\"}\n", 2, 44, "without backquotes", false},
	{"merge key", "x: &x {}\nproviders:\n  - <<: *x\n", 1, 1, "there is no field", true},
	{"merge key in a provider", "providers:\n  - &x {name: a, type: llama.cpp, model_path: x}\n  - <<: *x\n    name: b\n", 3, 5, "providers[1]: write the name of a field", false},
	{"tab", "server:\n\tport: 1\n", 2, 2, "this is not YAML", false},
	{"open bracket", "providers: [\n", 1, 1, "this is not YAML", false},
	{"unknown anchor", "a: 1\nproviders: *x\n", 2, 12, "this is not YAML: unknown anchor", false},
	{"two documents", minimal + "---\na: 1\n", 3, 1, "a second document begins here", false},
	{"control character", "a: \x01\n", 1, 4, "control character", false},
	{"not UTF-8", "a: b\nc: \xff\n", 2, 4, "not UTF-8", false},
	{"empty file", "", 1, 1, "the file is empty", false},
	{"comments only", "# nothing\n", 1, 1, "the file is empty", false},
}

func none(string) (string, bool) { return "", false }

func TestWrongFilesAreRefusedWithThePlace(t *testing.T) {
	for _, c := range wrong {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text), none)
			errs, ok := errors.AsType[Errors](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if first := errs[0]; first.Line != c.line || first.Column != c.col || !strings.Contains(first.Message, c.message) {
				t.Errorf("got  %v\nwant %d:%d: %s", err, c.line, c.col, c.message)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error quotes a secret: %v", err)
			}
		})
	}
}

func TestAllProblemsAreTold(t *testing.T) {
	_, err := Parse([]byte("server:\n  prot: 1\nproviders:\n  - name: a\n    type: openrouter\n    api_key: ${K:-x}\ncache:\n  max_size: many\n"), none)
	want := []string{"2:3: ", "4:5: ", "6:14: ", "8:13: "}
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		got = append(got, line[:strings.Index(line, " ")+1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", err)
	}
}

func TestSeedMeansWhatItSays(t *testing.T) {
	text, err := os.ReadFile("../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(text, none)
	if err != nil {
		t.Fatal(err)
	}
	s.at = nil
	layers, retries := Layers(0), 2
	want := &Settings{
		Server: Server{Host: "0.0.0.0", Port: 7000, LogLevel: "info"},
		Providers: []*Provider{
			{
				Name: "local", Type: LlamaCPP, Enabled: true, ModelPath: "{env.LOCAL_MODEL_PATH}",
				Params: &Params{NCtx: 4096, NThreads: 4, NGPULayers: &layers, F16KV: true, UseMlock: true, UseMmap: true},
			},
			{Name: "hf", Type: HuggingFace, Enabled: true, Model: "{env.HF_MODEL}", APIKey: "{env.HF_API_KEY}"},
			{Name: "openrouter", Type: OpenRouter, Enabled: true, Model: "{env.OPENROUTER_MODEL}", APIKey: "{env.OPENROUTER_API_KEY}"},
		},
		AutoPick:  AutoPick{Enabled: true, Priority: []string{"local", "hf", "openrouter"}, TimeoutMS: 30000, MaxRetries: &retries},
		Cache:     &Cache{Enabled: true, MaxSize: 1000, TTLSeconds: 3600},
		RateLimit: &RateLimit{Enabled: true, RequestsPerMinute: 60},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestWhatIsLeftOutHasADefault(t *testing.T) {
	s, err := Parse([]byte(minimal+"cache: {}\nrate_limit: {}\n"), none)
	if err != nil {
		t.Fatal(err)
	}
	if s.Server != (Server{"127.0.0.1", 7000, "info"}) || !s.AutoPick.Enabled || s.AutoPick.TimeoutMS != 30000 || s.AutoPick.MaxRetries != nil ||
		*s.Cache != (Cache{true, 1000, 3600}) || *s.RateLimit != (RateLimit{true, 60}) || !s.Providers[0].Enabled {
		t.Errorf("got %+v", s)
	}
}

func TestFilesAreRead(t *testing.T) {
	for name, text := range right {
		if _, err := Parse([]byte(text), none); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVariables(t *testing.T) {
	env := func(name string) (string, bool) {
		value, ok := map[string]string{"SET": "value", "EMPTY": "", "PORT": "81", "HF_API_KEY": "planted"}[name]
		return value, ok
	}
	for _, c := range []struct{ raw, want string }{
		{"${SET}", "{env.SET}"},
		{"a/${SET}/${OTHER}.gguf", "a/{env.SET}/{env.OTHER}.gguf"},
		{"${SET:-default}", "value"},
		{"${EMPTY:-default}", "default"},
		{"${UNSET:-a:-b}", "a:-b"},
		{"${UNSET:-}x", "x"},
		{"$$SET $ $x $${SET}", "$SET $ $x "}, // and braces that are no placeholder
	} {
		got, err := variables(env).text(c.raw)
		if c.want == "$SET $ $x " {
			if err == nil {
				t.Errorf("%s: got %q", c.raw, got)
			}
			continue
		}
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.raw, got, err, c.want)
		}
	}
	if got, err := variables(env).plain("${PORT}"); err != nil || got != "81" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := variables(env).plain("${HF_API_KEY}"); err == nil {
		t.Errorf("got %q", got)
	}
	if got, err := variables(env).plain("${EMPTY}"); err == nil || !strings.Contains(err.Error(), "EMPTY is not set") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOpenGatewayIsWarnedAbout(t *testing.T) {
	for host, open := range map[string]bool{"127.0.0.1": false, "localhost": false, "::1": false, "127.0.0.2": false, "0.0.0.0": true, "::": true, "192.168.1.2": true, "gateway": true} {
		s, err := Parse([]byte("server:\n  host: \""+host+"\"\n"+minimal), none)
		if err != nil {
			t.Fatal(err)
		}
		if w := s.Warnings(); (len(w) == 1) != open || open && (w[0].Line != 2 || !strings.Contains(w[0].Message, host)) {
			t.Errorf("%s: got %v", host, w)
		}
	}
}

func TestOrderOfPicks(t *testing.T) {
	text := "providers:\n"
	for _, name := range []string{"a", "b", "c", "d"} {
		text += "  - {name: " + name + ", type: llama.cpp, model_path: x"
		if name == "b" {
			text += ", enabled: false"
		}
		text += "}\n"
	}
	for priority, want := range map[string]string{"": "a c d", "auto_pick: {priority: [d, b, a]}\n": "d a", "auto_pick: {priority: }\n": "a c d"} {
		s, err := Parse([]byte(priority+text), none)
		if priority == "auto_pick: {priority: }\n" {
			if err == nil {
				t.Errorf("an empty value is read")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range s.Picks() {
			got = append(got, p.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %s", priority, got, want)
		}
	}
}

func TestNearestName(t *testing.T) {
	known := []string{"model", "model_path", "name", "enabled"}
	for wrong, want := range map[string]string{"modell": "model", "modelpath": "model_path", "Name": "name", "naem": "name", "enable": "enabled", "x": "", "": "", "something": "", strings.Repeat("model", 100): ""} {
		if got := nearest(wrong, known); got != want {
			t.Errorf("%s: got %q, want %q", wrong, got, want)
		}
	}
}

// FuzzParse looks for files that make the parser fail, or that it refuses without telling where.
func FuzzParse(f *testing.F) {
	seed, err := os.ReadFile("../config.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("\r0"))
	for _, text := range right {
		f.Add([]byte(text))
	}
	for _, c := range wrong {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text, none)
		if err == nil {
			if len(s.Offered()) == 0 || len(s.Picks()) == 0 {
				t.Error("nobody can be asked")
			}
			s.Warnings()
			return
		}
		errs, ok := errors.AsType[Errors](err)
		if !ok || len(errs) == 0 {
			t.Fatalf("got %v", err)
		}
		for _, p := range errs {
			lines := 1 + len(strings.FieldsFunc(string(text), breaksLine)) + strings.Count(string(text), "\n")
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Message == "" {
				t.Errorf("%v in at most %d lines", p, lines)
			}
		}
	})
}

// breaksLine reports whether YAML may see the end of a line.
func breaksLine(r rune) bool { return strings.ContainsRune("\r\n\u0085\u2028\u2029", r) }
