package caddymodule

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// openAIServer is a server for OpenAI's API that listens where its second argument says, and tells what it was asked and
// what it knows.
func openAIServer() {
	network := "unix"
	if strings.Contains(os.Args[2], ":") {
		network = "tcp"
	}
	listener, err := net.Listen(network, os.Args[2])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Model string }
		_ = json.NewDecoder(r.Body).Decode(&request)
		text, _ := json.Marshal(fmt.Sprint(request.Model, " ", os.Args[3:], " ", os.Getpid(), " ", os.Environ()))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}]}`, text)
	})
	_ = http.Serve(listener, mux)
}

func TestCommandAnswersThroughTheGateway(t *testing.T) {
	for _, test := range []struct{ name, listen string }{
		{"over a socket", "{socket}"},
		{"over a port", "127.0.0.1:{port}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			t.Setenv("LLMGATEWAY_TEST_KEY", secret)
			site := func(further string) string {
				return fmt.Sprintf(`llm {
					provider own command %q openai-server %s --of {model} {
						model org/model
						env GREETING "hello {env.LLMGATEWAY_TEST_WORD}"
						memory 10MiB
						n_parallel 4
					}
					%s
					model m {
						to own
					}
				}`, os.Args[0], test.listen, further)
			}
			t.Setenv("LLMGATEWAY_TEST_WORD", "world")
			g.start(site(""))
			say := func() (text string, pid int) {
				t.Helper()
				a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "hello", false))
				if err != nil || a.status != http.StatusOK || a.header.Get("X-LLM-Provider") != "own" {
					t.Fatalf("got %v, %v", a, err)
				}
				text = a.text()
				_, rest, _ := strings.Cut(text, "] ")
				number, _, _ := strings.Cut(rest, " ")
				if pid, err = strconv.Atoi(number); err != nil {
					t.Fatalf("got %q", text)
				}
				return text, pid
			}
			text, first := say()
			if !strings.HasPrefix(text, "org/model [--of org/model] ") || !strings.Contains(text, "GREETING=hello world") || strings.Contains(text, secret) {
				t.Errorf("got %q", text)
			}
			if err := g.reload(site("stream_idle_timeout 1m")); err != nil {
				t.Fatal(err)
			}
			if _, now := say(); now != first {
				t.Error("a reload started it again")
			}
			if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_, second := say()
			if err := g.reload("llm {\nprovider e echo\nmodel m {\nto e\n}\n}"); err != nil {
				t.Fatal(err)
			}
			await(t, "end of the program", func() bool { return !alive(second) && g.sockets() == nil })
		})
	}
}

func TestCommandThatCannotRunLeavesRequestsToOthers(t *testing.T) {
	g := newGateway(t)
	g.start("llm {\nprovider own command /nowhere/vllm serve --uds {socket}\nprovider e echo\nmodel m {\nto own e\n}\n}")
	a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "hello", false))
	if err != nil || a.status != http.StatusOK || a.header.Get("X-LLM-Provider") != "e" {
		t.Errorf("got %v, %v", a, err)
	}
}
