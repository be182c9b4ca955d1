package local

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// program writes an executable file.
func program(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "llama-server")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantFailed checks what operators and clients are told once the engine has given up.
func wantFailed(t *testing.T, e *Engine, detail, line string) {
	t.Helper()
	lease, err := e.Acquire(t.Context())
	if err == nil {
		lease.Release()
	}
	wantOverloaded(t, err, detail)
	if got := e.Status(); got.State != llmgateway.StateFailed || !strings.Contains(got.Detail, detail) {
		t.Errorf("got %+v, want failed, %q", got, detail)
	}
	failure := e.LastFailure()
	if failure == nil || !strings.Contains(failure.Detail, detail) || !strings.Contains(strings.Join(failure.Lines, "\n"), line) ||
		time.Since(failure.Time) > time.Minute {
		t.Errorf("got the failure %+v, want %q with the line %q", failure, detail, line)
	}
}

func TestProgramsThatAreNoServerFail(t *testing.T) {
	for _, test := range []struct {
		name, script string
		mode         os.FileMode
		detail, line string
	}{
		{"not executable", "#!/bin/sh\n", 0o600, "llama-server is no program that may be run", ""},
		{"no program", "\x7fELF but not really", 0o700, "llama-server could not be started; was it built for this machine?", ""},
		{"prints rubbish and ends", "#!/bin/sh\nhead -c 9999 /dev/zero | tr '\\0' '\\377'; echo; echo 'usage: whatever'\n", 0o700, "stopped while loading (exit status 0)", "usage: whatever"},
		{"prints rubbish for ever", "#!/bin/sh\nwhile echo rubbish; do sleep 0.02; done\n", 0o700, "llama-server did not listen within 300ms; is it a llama-server?", "rubbish"},
		{"too old", "#!/bin/sh\necho 'error: invalid argument: --load-mode' >&2; exit 1\n", 0o700, "(exit status 1); it does not know the flag --load-mode: it is of another version, or args is wrong", "invalid argument"},
		{"lacks a library", "#!/bin/sh\necho 'llama-server: error while loading shared libraries: libcudart.so.13: cannot open shared object file' >&2; exit 127\n", 0o700, "the library libcudart.so.13 is missing", "libcudart"},
		{"aborts", "#!/bin/sh\nkill -ABRT $$\n", 0o700, "stopped while loading (signal: aborted", ""},
		{"is killed", "#!/bin/sh\nkill -KILL $$\n", 0o700, "(killed; is there enough memory?)", ""},
		{"finds no memory", "#!/bin/sh\necho \"0.00.000.001 E terminate called after throwing 'std::bad_alloc'\" >&2; exit 1\n", 0o700, "there was not enough memory", "bad_alloc"},
		{"hangs", "#!/bin/sh\nexec sleep 1000\n", 0o700, "did not listen", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := program(t, test.script, test.mode)
			e := engine(t, func(c *Config) { c.Binary = path })
			e.timing.listen = 300 * time.Millisecond
			wantFailed(t, e, test.detail, test.line)
			// Whatever was wrong with it, a good one is taken in its place.
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(os.Args[0], path); err != nil {
				t.Fatal(err)
			}
			e.mu.Lock()
			e.retryAt = time.Now()
			e.mu.Unlock()
			acquire(t, e)
			if e.LastFailure() == nil {
				t.Error("the failure is forgotten")
			}
		})
	}
}

func TestFilesThatAreNoModelFail(t *testing.T) {
	for _, test := range []struct {
		name   string
		make   func(path string) error
		detail string
	}{
		{"empty", func(path string) error { return os.WriteFile(path, nil, 0o600) }, "m.gguf is no usable GGUF file"},
		{"a header without the rest", func(path string) error { return os.WriteFile(path, []byte("GGUF\x03\x00\x00\x00"), 0o600) }, "m.gguf is incomplete"},
		{"absurd counts", func(path string) error {
			return os.WriteFile(path, []byte("GGUF\x03\x00\x00\x00"+strings.Repeat("\xff", 64)), 0o600)
		}, "m.gguf is no usable GGUF file"},
		{"a web page", func(path string) error { return os.WriteFile(path, []byte("<html>not found</html>"), 0o600) }, "m.gguf is no usable GGUF file"},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o700) }, "m.gguf is no usable GGUF file"},
		{"a pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "m.gguf is no usable GGUF file"},
		{"a link to nowhere", func(path string) error { return os.Symlink("/nowhere", path) }, "m.gguf is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.gguf")
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			log := filepath.Join(t.TempDir(), "starts")
			e := engine(t, func(c *Config) { c.ModelPath = path }, "--starts", log)
			wantFailed(t, e, test.detail, "")
			if got := starts(t, log); got != 0 {
				t.Errorf("it was started %d times", got)
			}
			// A good file in its place is found without waiting.
			if err := os.Rename(modelFile(t), path); err != nil {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(modelFile(t), path); err != nil {
					t.Fatal(err)
				}
			}
			acquire(t, e)
		})
	}
}

func TestLoadWithoutASignOfLifeFails(t *testing.T) {
	e := engine(t, nil, "--load", "1h")
	e.timing.stall, e.timing.tries = 400*time.Millisecond, 1
	e.Preload()
	eventually(t, "a process that listens", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.current == nil {
			return false
		}
		_, err := os.Stat(e.current.socket)
		return err == nil
	})
	hung := pid(e)
	if err := syscall.Kill(hung, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantFailed(t, e, "the local model server hung while loading: no sign of life for 400ms", "")
	if alive(hung) {
		t.Error("the hung process is still there")
	}
}

func TestSlowLoadWithSignsOfLifeIsWaitedFor(t *testing.T) {
	e := engine(t, nil, "--load", "1s", "--talk", "20ms")
	e.timing.stall = 300 * time.Millisecond
	acquire(t, e)
}

func TestLoadIsBoundedBySizeAndTime(t *testing.T) {
	e := engine(t, nil, "--load", "1h", "--talk", "10ms")
	e.timing.load, e.timing.tries = 200*time.Millisecond, 1
	wantFailed(t, e, "the model did not load within 0s", "loading some more")
	if got, want := (&loading{timing: defaultTiming, sizeBytes: 400 << 30}).most(), 30*time.Minute+400*64*time.Second; got != want {
		t.Errorf("400 GiB: got %v, want %v", got, want)
	}
}

func TestSignsOfLife(t *testing.T) {
	before := activity{known: true, cpu: time.Minute, faults: 100, read: 1 << 30, memory: 1 << 30, lines: 3}
	for _, test := range []struct {
		name   string
		change func(*activity)
		want   bool
	}{
		{"nothing", func(*activity) {}, false},
		{"answering /health", func(a *activity) { a.cpu += 20 * time.Millisecond; a.memory += 4096; a.read += 1000 }, false},
		{"computing", func(a *activity) { a.cpu += time.Second }, true},
		{"waiting for pages", func(a *activity) { a.faults++ }, true},
		{"reading", func(a *activity) { a.read += 2 << 20 }, true},
		{"giving memory back", func(a *activity) { a.memory -= 2 << 20 }, true},
		{"a child that ended", func(a *activity) { a.cpu = 0 }, true},
		{"a word", func(a *activity) { a.lines++ }, true},
		{"a system that does not tell", func(a *activity) { a.known = false }, true},
	} {
		now := before
		test.change(&now)
		if got := now.differs(before, 15*time.Second); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
	if own := groupActivity(syscall.Getpgrp()); own.known && (own.memory == 0 || own.read == 0) {
		t.Errorf("this process's own group: got %+v", own)
	}
}

func TestHungServerIsReplaced(t *testing.T) {
	e := engine(t, nil)
	e.timing.check, e.timing.silences = 200*time.Millisecond, 3
	p := &Provider{Engine: e}
	if _, err := generate(t.Context(), p, request(t, "")); err != nil {
		t.Fatal(err)
	}
	hung := pid(e)
	if err := syscall.Kill(hung, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// A process may answer for a moment after it was told to stop.
	eventually(t, "a failure", func() bool {
		_, err := generate(t.Context(), p, request(t, ""))
		if err != nil && !strings.Contains(err.Error(), "the local model server stopped") {
			t.Errorf("while it hangs: got %v", err)
		}
		return e.LastFailure() != nil
	})
	if _, err := generate(t.Context(), p, request(t, "")); err != nil {
		t.Error(err)
	}
	if failure := e.LastFailure(); failure == nil || !strings.Contains(failure.Detail, "hung: it did not answer for 600ms") {
		t.Errorf("got %+v, want that it hung", failure)
	}
	if alive(hung) || pid(e) == hung {
		t.Error("the hung process is still there")
	}
}

func TestServerWhoseMainLoopHangsIsReplaced(t *testing.T) {
	e := engine(t, nil, "--slots", "hang")
	e.timing.check, e.timing.stuck = 20*time.Millisecond, 100*time.Millisecond
	p := &Provider{Engine: e}
	acquire(t, e).Release()
	time.Sleep(5 * e.timing.stuck)
	if e.LastFailure() != nil {
		t.Fatal("it was replaced although nobody asks it")
	}
	_, err := generate(t.Context(), p, request(t, "wait"))
	if e := llmgateway.AsError(err); e == nil || e.Kind != llmgateway.Upstream || e.Message != "the local model server stopped" {
		t.Errorf("got %v, want that it stopped", err)
	}
	eventually(t, "another process", func() bool { return e.LastFailure() != nil && e.Status().State == llmgateway.StateReady })
	if failure := e.LastFailure(); failure == nil || !strings.Contains(failure.Detail, "hung: it has worked on nothing for 100ms") {
		t.Errorf("got %+v, want that it hung", failure)
	}
}

func TestBusyServerIsLeftAlone(t *testing.T) {
	e := engine(t, nil, "--slots", "ok")
	e.timing.check, e.timing.stuck = 20*time.Millisecond, 400*time.Millisecond
	p := &Provider{Engine: e}
	if _, err := generate(t.Context(), p, request(t, "1200ms")); err != nil {
		t.Error(err)
	}
	if failure := e.LastFailure(); failure != nil {
		t.Errorf("got %+v", failure)
	}
}

func TestCauses(t *testing.T) {
	for line, want := range map[string]string{
		"error: invalid argument: --cache-ram":                                                           "it does not know the flag --cache-ram: it is of another version, or args is wrong",
		"llama_model_load: error loading model: unknown model architecture: 'qwen9'":                     "it does not know the model's architecture qwen9; a newer llama-server may",
		"ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4 MiB: cudaMalloc failed: out of memory": "there was not enough memory",
		"everything is fine": "",
	} {
		if got := cause([]string{"one line", line, "another"}); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}
