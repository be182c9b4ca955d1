package local

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// TestMain makes this very program the fake llama-server, and the gateway of TestChildDiesWithTheGateway. Their
// environment is too poor to tell them, so their arguments do.
func TestMain(m *testing.M) {
	switch {
	case slices.Contains(os.Args, "--gateway"):
		fakeGateway()
	case slices.Contains(os.Args, "--openai"):
		fakeProgram()
	case slices.Contains(os.Args, "--fake"):
		fakeServer()
	default:
		os.Exit(run(m))
	}
}

// run runs the tests with a folder for sockets of their own.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("/tmp", "local-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	_ = os.Setenv("XDG_RUNTIME_DIR", dir)
	return m.Run()
}

// fakeServer understands llama-server's flags as far as the tests need them, and some that make it misbehave.
func fakeServer() {
	flags := flag.NewFlagSet("fake", flag.ContinueOnError)
	flags.Bool("fake", false, "")
	host := flags.String("host", "", "")
	starts := flags.String("starts", "", "a file that gets a byte for each start")
	say := flags.String("say", "", "a line to print")
	load := flags.Duration("load", 0, "how long loading takes")
	talk := flags.Duration("talk", 0, "how often a line is printed")
	failing := flags.Int("failing", 0, "how many starts fail while loading")
	crash := flags.Bool("crash", false, "crash on every request")
	slots := flags.String("slots", "", "hang: GET /slots does; ok: it answers")
	pace := flags.String("pace", "", "tokens of a prompt and tokens of an answer per second, such as 1000/50: work like llama-server")
	stubborn := flags.Bool("stubborn", false, "ignore SIGTERM")
	if err := flags.Parse(os.Args[slices.Index(os.Args, "--fake"):]); err != nil {
		os.Exit(2)
	}
	for i, arg := range os.Args[:len(os.Args)-1] {
		if arg == "--host" {
			*host = os.Args[i+1]
		}
	}
	if *stubborn {
		signal.Ignore(syscall.SIGTERM)
	}
	if *say != "" {
		fmt.Fprintln(os.Stderr, *say)
	}
	count := 0
	if *starts != "" {
		file, _ := os.OpenFile(*starts, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
		_, _ = file.WriteString("x")
		data, _ := os.ReadFile(*starts)
		count = len(data)
	}
	if *talk > 0 {
		go func() {
			for range time.Tick(*talk) {
				fmt.Println("loading some more")
			}
		}()
	}
	listener, err := net.Listen("unix", *host)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var loaded atomic.Bool
	time.AfterFunc(*load, func() {
		if *failing > 0 && count <= *failing {
			fmt.Fprintln(os.Stderr, "0.00.000.001 E srv    load_model: failed to load the fake")
			os.Exit(1)
		}
		loaded.Store(true)
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if !loaded.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /slots", func(w http.ResponseWriter, r *http.Request) {
		if *slots == "hang" {
			<-r.Context().Done()
		}
		fmt.Fprint(w, `[]`)
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(os.Environ())
	})
	slow := newSlowServer(*pace)
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if slow != nil {
			slow.answer(w, body)
			return
		}
		if *crash {
			os.Exit(3)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		chunk := func(delta, finish string) {
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}\n\n", delta, finish)
			_ = http.NewResponseController(w).Flush()
		}
		chunk(`{"role":"assistant","content":null}`, "null")
		var request struct{ Model, Say string }
		_ = json.Unmarshal(body, &request)
		if request.Say == "die" {
			os.Exit(3)
		}
		if request.Say == "wait" {
			chunk(`{"content":"waiting"}`, "null")
			<-r.Context().Done()
			return
		}
		chunk(fmt.Sprintf(`{"content":%q}`, request.Model), "null")
		if pause, err := time.ParseDuration(request.Say); err == nil {
			time.Sleep(pause)
		}
		chunk("{}", `"stop"`)
		fmt.Fprint(w, "data: [DONE]\n\n")
	})
	_ = http.Serve(listener, mux)
}

// engine returns an engine whose llama-server is this program with further flags. It ends with the test, which fails if
// anything is left.
func engine(t *testing.T, change func(*Config), flags ...string) *Engine {
	t.Helper()
	config := Config{Binary: os.Args[0], ModelPath: modelFile(t), Args: JoinArgs(append([]string{"--fake"}, flags...))}
	if change != nil {
		change(&config)
	}
	noLeaks(t)
	e := NewEngine(config.Key(), memory.NewBudget(MachineMemory()), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	e.timing = quick
	t.Cleanup(func() {
		_ = e.Destruct()
		gone(t, e)
	})
	return e
}

// quick is the timing of tests.
var quick = timing{
	poll: time.Millisecond, maxPoll: 10 * time.Millisecond, load: 10 * time.Second, listen: 10 * time.Second, stall: 10 * time.Second,
	check: 5 * time.Second, silences: 2, stuck: 10 * time.Second,
	backoff: time.Millisecond, maxBackoff: 10 * time.Millisecond, tries: 3,
	cooldown: time.Hour, maxCooldown: time.Hour, recheck: 0, stable: time.Hour, patience: 5 * time.Second, caching: 5 * time.Second, innocent: 10 * time.Second,
}

// gone waits for the end of an engine.
func gone(t *testing.T, e *Engine) {
	t.Helper()
	select {
	case <-e.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the engine does not end")
	}
}

// modelFile returns the path of a file that looks like a model.
func modelFile(t *testing.T) string {
	t.Helper()
	var model gguf.Writer
	model.Set("general.architecture", "llama")
	model.Set("llama.context_length", uint32(4096))
	model.Set("tokenizer.chat_template", "{% if tools %}...{% endif %}")
	path := filepath.Join(t.TempDir(), "fake-model.gguf")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := model.Write(file); err != nil {
		t.Fatal(err)
	}
	return path
}

// noLeaks fails the test if goroutines, files, children or folders are left at its end. The first call counts.
func noLeaks(t *testing.T) {
	t.Helper()
	if _, watched := watchedTests.LoadOrStore(t, true); watched {
		return
	}
	before := count(t)
	t.Cleanup(func() {
		watchedTests.Delete(t)
		var after resources
		for range 200 {
			if after = count(t); !after.exceeds(before) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		stacks := make([]byte, 1<<16)
		t.Errorf("left over: had %+v, have %+v\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
	})
}

var watchedTests sync.Map

type resources struct{ goroutines, files, children, folders int }

func (r resources) exceeds(o resources) bool {
	return r.goroutines > o.goroutines || r.files > o.files || r.children > o.children || r.folders > o.folders
}

func count(t *testing.T) (r resources) {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		r.children += len(strings.Fields(string(data)))
	}
	folders, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), runDirPrefix+"*"))
	r.goroutines, r.files, r.folders = runtime.NumGoroutine(), len(files), len(folders)
	return r
}

// request returns a chat request for the fake server.
func request(t *testing.T, say string) *llmgateway.Request {
	t.Helper()
	body := fmt.Sprintf(`{"model":"local","stream":true,"say":%q,"messages":[{"role":"user","content":"hello"}]}`, say)
	req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// pid returns the number of the engine's process.
func pid(e *Engine) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return 0
	}
	return e.current.process.cmd.Process.Pid
}

// kill kills the engine's process.
func kill(t *testing.T, e *Engine) {
	t.Helper()
	child := pid(e)
	if child == 0 {
		t.Fatal("there is no process to kill")
	}
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

var discard = slog.New(slog.DiscardHandler)

// fakeGateway starts an engine with the given llama-server, model and flags, and tells its process's number and socket.
// It lets go of the engine and exits when its input ends.
func fakeGateway() {
	args := os.Args[slices.Index(os.Args, "--gateway")+1:]
	e := NewEngine(Config{Binary: args[0], ModelPath: args[1], NCtx: 512, Args: JoinArgs(args[2:])}.Key(), memory.NewBudget(MachineMemory()), discard)
	e.Preload()
	for e.Status().State != llmgateway.StateReady {
		if status := e.Status(); !status.State.Live() {
			fmt.Fprintln(os.Stderr, status.Detail)
			os.Exit(1)
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Println(pid(e), e.current.socket)
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = e.Destruct()
	os.Exit(0)
}
