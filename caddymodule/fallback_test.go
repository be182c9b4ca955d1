package caddymodule

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// trouble is a model server that fails in one way.
type trouble struct {
	name   string
	url    string
	status int    // what a client gets if nobody else answers
	reason string // part of what it is told
	hangs  bool   // only a deadline ends it
}

// patience is how long a gateway waits for the first token of a trouble that hangs.
const patience = 150 * time.Millisecond

// secret is an API key that no client may ever see.
const secret = "sk-test-0123456789abcdef"

// troubles starts all of them. All of their answers quote the key and an internal address where they can.
func troubles(t *testing.T) []trouble {
	t.Helper()
	t.Setenv("LLMGATEWAY_TEST_KEY", secret)
	leak := "key " + secret + " at 127.0.0.1:8443"
	plain := func(status int, contentType, body string) string {
		return upstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	cut := func(begin func(http.ResponseWriter)) string {
		return upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if wantsStream(r) {
				begin(w)
			} else {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"half of`)
			}
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
	}
	return []trouble{
		{name: "dead", url: "http://" + freeAddress(t) + "/v1", status: 502, reason: "connection refused"},
		{name: "silent", url: silent(t), status: 504, reason: "no first token within 150ms", hangs: true},
		{name: "silent-after-header", status: 504, reason: "no first token within 150ms", hangs: true, url: upstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			wantsStream(r)
			<-r.Context().Done()
		})},
		{name: "silent-after-role", status: 504, reason: "no first token within 150ms", hangs: true, url: upstream(t, func(w http.ResponseWriter, r *http.Request) {
			wantsStream(r)
			sayRole(w)
			<-r.Context().Done()
		})},
		{name: "error-500", url: plain(500, "application/json", `{"error":{"message":"`+leak+`"}}`), status: 502, reason: "HTTP 500"},
		{name: "error-401", url: plain(401, "application/json", `{"error":{"message":"`+leak+`"}}`), status: 502, reason: "refused the gateway's credentials"},
		{name: "busy", status: 429, reason: "rate limit", url: upstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":{"message":"`+leak+`"}}`)
		})},
		{name: "html", url: plain(200, "text/html", "<html>"+leak), status: 502, reason: "did not answer with"},
		{name: "empty", url: plain(200, "application/json", ""), status: 502, reason: "the provider"},
		{name: "empty-stream", url: plain(200, "text/event-stream", ""), status: 502},
		{name: "error-200", url: plain(200, "application/json", `{"error":{"message":"`+leak+`"}}`), status: 502, reason: "reported an error"},
		{name: "cut-before-role", url: cut(func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/event-stream") }), status: 502},
		{name: "cut-after-role", url: cut(sayRole), status: 502},
	}
}

// silent returns the URL of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	return "http://" + listener.Addr().String() + "/v1"
}

// mode is how a client asks, and how the gateway is to treat it.
type mode struct {
	name   string
	stream bool
	prefix string // of the models with this treatment
}

// A target with a deadline is asked to stream even if the client does not.
var modes = []mode{{"streamed", true, "timed-"}, {"merged", false, "timed-"}, {"whole", false, "patient-"}, {"streamed without deadline", true, "patient-"}}

// startTroubled starts a gateway with each trouble as a provider, and with these models: the trouble's name for it
// alone, and with "-good" for a list in which it is the first.
func startTroubled(t *testing.T, troubles []trouble) *gateway {
	t.Helper()
	var providers, models strings.Builder
	for _, x := range troubles {
		fmt.Fprintf(&providers, "provider %s openai %s {\napi_key {env.LLMGATEWAY_TEST_KEY}\n}\n", x.name, x.url)
		// Where only a deadline helps it is short.
		deadline := map[bool]string{true: patience.String(), false: "10s"}[x.hangs]
		for prefix, options := range map[string]string{"timed-": "{\nfirst_token_timeout " + deadline + "\n}", "patient-": ""} {
			fmt.Fprintf(&models, "model %s%s {\nto %s %s\n}\n", prefix, x.name, x.name, options)
			fmt.Fprintf(&models, "model %s%s-good {\nto %s %s\nto good/best\n}\n", prefix, x.name, x.name, options)
		}
	}
	g := newGateway(t)
	t.Cleanup(func() { checkNoSecretLogged(t, g) })
	g.start(fmt.Sprintf("llm {\nprovider good openai %s\n%s\n%s}", upstream(t, good), &providers, &models))
	return g
}

func TestSecondTargetAnswersForEveryTrouble(t *testing.T) {
	all := troubles(t)
	g := startTroubled(t, all)
	for _, x := range all {
		for _, mode := range modes {
			if x.hangs && mode.prefix == "patient-" {
				continue
			}
			t.Run(x.name+" "+mode.name, func(t *testing.T) {
				began := time.Now()
				text, header, err := g.chat(t, mode.prefix+x.name+"-good", mode.stream)
				if err != nil || text != goodText {
					t.Fatalf("got %q, %v", text, err)
				}
				if x.hangs && time.Since(began) < patience || time.Since(began) > 5*time.Second {
					t.Errorf("answered after %v", time.Since(began))
				}
				got := []string{header.Get("X-LLM-Provider"), header.Get("X-LLM-Model"), header.Get("X-LLM-Attempts")}
				if want := []string{"good", "best", "2"}; !slices.Equal(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

// chat asks over HTTP/2 and returns the text of a complete answer.
func (g *gateway) chat(t *testing.T, model string, streamed bool) (string, http.Header, error) {
	t.Helper()
	client := g.client("HTTP/2.0")
	if streamed {
		s, err := g.open(t.Context(), client, chat(model, "hello", true))
		if err != nil {
			return "", nil, err
		}
		text, err := s.rest()
		return text, s.resp.Header, err
	}
	a, err := g.ask(t.Context(), client, chat(model, "hello", false))
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%d %s", a.status, a.body)
	}
	return a.text(), a.header, err
}

func TestFailureNamesTheReasonAndNothingElse(t *testing.T) {
	all := troubles(t)
	g := startTroubled(t, all)
	for _, x := range all {
		for _, mode := range modes {
			if x.hangs && mode.prefix == "patient-" {
				continue
			}
			t.Run(x.name+" "+mode.name, func(t *testing.T) {
				a, err := g.ask(t.Context(), g.client("HTTP/1.1"), chat(mode.prefix+x.name, "hello", mode.stream))
				if err != nil {
					t.Fatal(err)
				}
				if a.status != x.status || a.header.Get("Content-Type") != "application/json" || a.header.Get("X-LLM-Attempts") != "1" {
					t.Errorf("got %d %v", a.status, a.header)
				}
				if want := map[bool]string{true: "7"}[x.name == "busy"]; a.header.Get("Retry-After") != want {
					t.Errorf("Retry-After %q, want %q", a.header.Get("Retry-After"), want)
				}
				if !strings.Contains(a.message(), x.name+": ") || !strings.Contains(a.message(), x.reason) {
					t.Errorf("message %q does not say %q", a.message(), x.reason)
				}
				checkDiscreet(t, a.body)
			})
		}
	}
}

// checkNoSecretLogged looks for the API key in the log, which must not have it at any level.
func checkNoSecretLogged(t *testing.T, g *gateway) {
	t.Helper()
	text, err := os.ReadFile(g.logFile())
	if err != nil || len(text) == 0 {
		t.Errorf("no log: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, secret) {
			t.Errorf("the log has the API key: %s", line)
		}
	}
}

// checkDiscreet looks for what no client may see.
func checkDiscreet(t *testing.T, body string) {
	t.Helper()
	for _, word := range []string{"sk-", "127.0.0.1", "localhost", "8443", "/v1"} {
		if strings.Contains(body, word) {
			t.Errorf("the client is told %q: %s", word, body)
		}
	}
}

func TestFailureOfAllTargets(t *testing.T) {
	byName := make(map[string]trouble)
	for _, x := range troubles(t) {
		byName[x.name] = x
	}
	tests := []struct {
		name       string
		targets    []string
		status     int
		retryAfter string
	}{
		{"all rate limited", []string{"busy", "busier"}, 429, "7"},
		{"all silent", []string{"silent", "silent-after-header", "silent-after-role"}, 504, ""},
		{"all disabled", []string{"disabled", "disabled-too"}, 503, ""},
		{"of all kinds", []string{"dead", "silent", "busy", "html", "error-401", "disabled"}, 502, ""},
	}
	var site strings.Builder
	for _, x := range byName {
		fmt.Fprintf(&site, "provider %s openai %s {\napi_key {env.LLMGATEWAY_TEST_KEY}\n}\n", x.name, x.url)
	}
	fmt.Fprintf(&site, "provider busier openai %s\n", upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "20")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	for _, name := range []string{"disabled", "disabled-too"} {
		fmt.Fprintf(&site, "provider %s openai {\napi_key {env.LLMGATEWAY_TEST_UNSET}\n}\n", name)
	}
	for i, test := range tests {
		fmt.Fprintf(&site, "model m%d {\nto %s\n}\n", i, strings.Join(test.targets, " "))
	}
	g := newGateway(t)
	t.Cleanup(func() { checkNoSecretLogged(t, g) })
	g.start("llm {\nfirst_token_timeout 150ms\n" + site.String() + "}")
	for i, test := range tests {
		for _, streamed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s stream=%v", test.name, streamed), func(t *testing.T) {
				a, err := g.ask(t.Context(), g.client("HTTP/3.0"), chat(fmt.Sprint("m", i), "hello", streamed))
				if err != nil {
					t.Fatal(err)
				}
				if a.status != test.status || a.header.Get("Retry-After") != test.retryAfter {
					t.Errorf("got %d with Retry-After %q, want %d with %q", a.status, a.header.Get("Retry-After"), test.status, test.retryAfter)
				}
				for _, name := range test.targets {
					if !strings.Contains(a.message(), name+": "+byName[name].reason) && !strings.Contains(a.message(), name+": the") && !strings.Contains(a.message(), name+": disabled") {
						t.Errorf("message %q does not say why %s failed", a.message(), name)
					}
				}
				checkDiscreet(t, a.body)
			})
		}
	}
}

// After the first token nobody else can answer, and a client that streams must see that the answer is not whole.
func TestStreamCutAfterTheFirstToken(t *testing.T) {
	t.Setenv("LLMGATEWAY_TEST_KEY", secret)
	begin := func(w http.ResponseWriter) {
		sayRole(w)
		say(w, "half ")
	}
	ends := map[string]func(http.ResponseWriter, *http.Request){
		"cut":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"ended": func(http.ResponseWriter, *http.Request) {},
		"idle":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"error": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "data: {\"error\":{\"message\":\"key "+secret+" at 127.0.0.1:8443\"}}\n\n")
		},
	}
	var site strings.Builder
	for name, end := range ends {
		url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			wantsStream(r)
			begin(w)
			end(w, r)
		})
		fmt.Fprintf(&site, "provider %s openai %s {\napi_key {env.LLMGATEWAY_TEST_KEY}\n}\nmodel %s {\nto %s\nto good\n}\n", name, url, name, name)
	}
	g := newGateway(t)
	t.Cleanup(func() { checkNoSecretLogged(t, g) })
	g.start(fmt.Sprintf(`
		log_append outcome {http.llm.status}
		llm {
			first_token_timeout 2s
			stream_idle_timeout 150ms
			provider good openai %s
			%s
		}`, upstream(t, good), &site))
	for name := range ends {
		for _, protocol := range protocols {
			t.Run(name+" "+protocol, func(t *testing.T) {
				s, err := g.open(t.Context(), g.client(protocol), chat(name, "hello", true))
				if err != nil {
					t.Fatal(err)
				}
				text, err := s.rest()
				if text != "half " || s.fault == "" || s.done || s.resp.Header.Get("X-LLM-Provider") != name || s.resp.Header.Get("X-LLM-Attempts") != "1" {
					t.Errorf("got %q from %v, error %q, end marker %v, %v", text, s.resp.Header, s.fault, s.done, err)
				}
				checkDiscreet(t, s.fault)
				checkLastOutcome(t, g, map[bool]float64{false: 502, true: 504}[name == "idle"])
			})
		}
		t.Run(name+" not streamed", func(t *testing.T) {
			a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat(name, "hello", false))
			if err != nil || a.text() != goodText || a.header.Get("X-LLM-Attempts") != "2" {
				t.Errorf("got %v, %v", a, err)
			}
			checkLastOutcome(t, g, 200)
		})
	}
}
