package local

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// fakeProgram is a server for OpenAI's API that has nothing in common with llama-server.
func fakeProgram() {
	flags := flag.NewFlagSet("openai", flag.ContinueOnError)
	flags.Bool("openai", false, "")
	port := flags.String("port", "", "")
	socket := flags.String("uds", "", "")
	model := flags.String("served-model-name", "", "")
	ready := flags.String("ready", "/health", "the page that tells that it is ready")
	load := flags.Duration("load", 0, "how long it takes until it listens")
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	fmt.Println("INFO: starting")
	time.Sleep(*load)
	network, address := "unix", *socket
	if *port != "" {
		network, address = "tcp", "127.0.0.1:"+*port
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+*ready, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var request map[string]any
		_ = json.NewDecoder(r.Body).Decode(&request)
		if request["model"] == "fatal" {
			os.Exit(4)
		}
		if *model != "" && request["model"] != *model {
			http.Error(w, `{"error":{"message":"no such model"}}`, http.StatusNotFound)
			return
		}
		names := slices.Sorted(func(yield func(string) bool) {
			for name := range request {
				if !yield(name) {
					return
				}
			}
		})
		text, _ := json.Marshal(fmt.Sprint(request["model"], " ", names, " ", os.Getenv("GREETING"), os.Getenv("SECRET_OF_THE_GATEWAY")))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}]}`, text)
	})
	_ = http.Serve(listener, mux)
}

// command returns an engine that runs fakeProgram.
func command(t *testing.T, change func(*Command), args ...string) *Engine {
	t.Helper()
	return engine(t, func(c *Config) {
		*c = Config{NParallel: 4, Command: Command{Program: os.Args[0], Args: JoinArgs(append([]string{"--openai"}, args...))}}
		if change != nil {
			change(&c.Command)
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}

const plainChat = `{"model":%q,"messages":[{"role":"user","content":"hello"}],"tool_choice":"none","tools":[]}`

func TestCommandServes(t *testing.T) {
	t.Setenv("SECRET_OF_THE_GATEWAY", "leaked")
	for _, test := range []struct {
		name   string
		change func(*Command)
		args   []string
		want   string
	}{
		{"over a socket", nil, []string{"--uds", "{socket}"}, "asked"},
		{"over a port", nil, []string{"--port={port}"}, "asked"},
		{"with a model of its own", func(c *Command) { c.Model = "org/model" }, []string{"--uds", "{socket}", "--served-model-name", "{model}"}, "org/model"},
		{"without a health page", nil, []string{"--uds", "{socket}", "--ready", "/v1/models"}, "asked"},
		{"with another health page", func(c *Command) { c.HealthPath = "/ping" }, []string{"--port", "{port}", "--ready", "/ping"}, "asked"},
		{"that loads before it listens", nil, []string{"--port", "{port}", "--load", "300ms"}, "asked"},
		{"with an environment", func(c *Command) { c.Env = JoinArgs([]string{"GREETING=hi", "OTHER="}) }, []string{"--uds", "{socket}"}, "asked [messages model tool_choice tools] hi"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := command(t, test.change, test.args...)
			e.timing.listen = 100 * time.Millisecond // is for llama-server
			if got := e.Status().State; got != llmgateway.StateIdle {
				t.Errorf("got %s, want idle", got)
			}
			p := &Provider{Engine: e}
			for range 2 {
				said, err := generate(t.Context(), p, ask(t, llmgateway.Chat, plainChat, "asked"))
				if err != nil || !strings.Contains(said, `"content":"`+test.want) || strings.Contains(said, "leaked") {
					t.Errorf("got %s, %v", said, err)
				}
			}
		})
	}
}

func TestCommandIsSupervised(t *testing.T) {
	e := command(t, nil, "--uds", "{socket}")
	e.timing.check, e.timing.silences = 50*time.Millisecond, 2
	p := &Provider{Engine: e}
	_, err := generate(t.Context(), p, ask(t, llmgateway.Chat, plainChat, "fatal"))
	if failed := llmgateway.AsError(err); failed == nil || failed.Message != "the local model server stopped" {
		t.Errorf("a crash: got %v", err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		if _, err := generate(t.Context(), p, ask(t, llmgateway.Chat, plainChat, "m")); err != nil {
			t.Fatal(err)
		}
		old := pid(e)
		if err := syscall.Kill(old, signal); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another process", func() bool { return !alive(old) && e.Status().State == llmgateway.StateReady })
	}
	eventually(t, "that it is said to have hung", func() bool { return strings.Contains(e.LastFailure().Detail, "hung") })
	if _, err := generate(t.Context(), p, ask(t, llmgateway.Chat, plainChat, "m")); err != nil {
		t.Error(err)
	}
}

func TestCommandTakesPartInTheBudget(t *testing.T) {
	e := command(t, func(c *Command) { c.MemoryBytes = 1 << 60 }, "--uds", "{socket}")
	if got := e.Status(); got.State != llmgateway.StateFailed {
		t.Errorf("got %+v, want that it is too large", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if lease, err := e.Acquire(ctx); err == nil {
		lease.Release()
		t.Error("it was started")
	}
	if got := e.Report(); got.EstimatedBytes != 1<<60 || got.ModelFile != "" {
		t.Errorf("got %+v", got)
	}
}

func TestCommandThatIsMissingFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server")
	e := command(t, func(c *Command) { c.Program = path }, "--uds", "{socket}")
	wantFailed(t, e, "the program server was not found", "")
	if err := os.Symlink(os.Args[0], path); err != nil {
		t.Fatal(err)
	}
	acquire(t, e)
}

func TestCommandFetchesNothingForStrangers(t *testing.T) {
	p := &Provider{Engine: command(t, nil, "--uds", "{socket}")}
	_, err := generate(t.Context(), p, ask(t, llmgateway.Chat, "%s",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://169.254.169.254/"}}]}]}`))
	if failed := llmgateway.AsError(err); failed == nil || failed.Kind != llmgateway.Unsupported {
		t.Errorf("got %v", err)
	}
}

func TestInvalidCommands(t *testing.T) {
	for _, test := range []struct {
		command Command
		want    string
	}{
		{Command{Program: "p"}, "command: an argument must say where to listen"},
		{Command{Program: "p", Args: JoinArgs([]string{"{socket}", "{port}"})}, "exclude each other"},
		{Command{Program: "p", Args: JoinArgs([]string{"{socket}", "{model}"})}, "there is no model for {model}"},
		{Command{Program: "p", Args: "{port}", HealthPath: "health"}, "does not begin with a slash"},
		{Command{Program: "p", Args: "{port}", Env: "=x"}, "has no name"},
	} {
		if err := (Config{Command: test.command}).Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}
