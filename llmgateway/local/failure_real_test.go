package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// TestRealServerRecovers does to a serving llama-server what the world may do to it.
func TestRealServerRecovers(t *testing.T) {
	for _, test := range []struct {
		name   string
		signal syscall.Signal
		detail string
	}{
		{"killed", syscall.SIGKILL, "the local model server stopped (killed; is there enough memory?)"},
		{"aborted", syscall.SIGABRT, "the local model server stopped (signal: aborted"},
		{"stopped", syscall.SIGSTOP, "the local model server hung: it did not answer"},
		{"asked to end by somebody else", syscall.SIGTERM, "the local model server stopped (exit status 0)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := realEngine(t, nil, Config{NCtx: 512})
			e.timing.check = 300 * time.Millisecond
			p := &Provider{Engine: e}
			hello := ask(t, llmgateway.Chat, chatBody, true, "hello")
			if _, err := generate(t.Context(), p, hello); err != nil {
				t.Fatal(err)
			}
			old := pid(e)
			began := time.Now()
			if err := syscall.Kill(old, test.signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, "another process", func() bool { return !alive(old) && e.Status().State == llmgateway.StateReady })
			if _, err := generate(t.Context(), p, hello); err != nil {
				t.Error(err)
			}
			t.Logf("answered again after %v", time.Since(began))
			if failure := e.LastFailure(); failure == nil || !strings.Contains(failure.Detail, test.detail) || len(failure.Lines) == 0 {
				t.Errorf("got %+v, want %q with its last lines", failure, test.detail)
			}
		})
	}
}

// TestRealServerSaysWhatIsWrong lets loading fail for every reason that llama-server itself finds.
func TestRealServerSaysWhatIsWrong(t *testing.T) {
	unknown := filepath.Join(t.TempDir(), "unknown.gguf")
	var model gguf.Writer
	model.Set("general.architecture", "qwen99")
	model.Set("qwen99.context_length", uint32(4096))
	file, err := os.Create(unknown)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := model.Write(file); err != nil {
		t.Fatal(err)
	}
	limited := program(t, fmt.Sprintf("#!/bin/sh\nulimit -v 150000\nexec %q \"$@\"\n", realServer(t)), 0o700)
	for _, test := range []struct {
		name   string
		change func(*Config)
		detail string
		line   string
	}{
		{"unknown architecture", func(c *Config) { c.ModelPath = unknown }, "it does not know the model's architecture qwen99", "unknown model architecture"},
		{"no model inside", func(c *Config) { c.ModelPath = modelFile(t) }, "stopped while loading (exit status 1)", "failed to load model"},
		{"unknown flag", func(c *Config) { c.Args = "--no-such-flag" }, "it does not know the flag --no-such-flag", "invalid argument"},
		{"too little memory", func(c *Config) { c.NCtx, c.Binary = 1<<17, limited }, "there was not enough memory", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := Config{NCtx: 512}
			test.change(&config)
			e := realEngine(t, nil, config)
			e.timing.backoff = time.Millisecond
			wantFailed(t, e, test.detail, test.line)
		})
	}
}

// TestRealServerOutlivesItsModelFile replaces and damages the file under a running server.
func TestRealServerOutlivesItsModelFile(t *testing.T) {
	path := starterModel(t)
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e := realEngine(t, nil, Config{ModelPath: path, NCtx: 512})
	p := &Provider{Engine: e}
	hello := ask(t, llmgateway.Chat, chatBody, true, "hello")
	say := func(when string) {
		t.Helper()
		if _, err := generate(t.Context(), p, hello); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	say("before")
	first := pid(e)
	beside := path + ".new"
	if err := os.WriteFile(beside, original, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, path); err != nil {
		t.Fatal(err)
	}
	say("replaced by renaming")
	if pid(e) != first {
		t.Error("it was started again")
	}
	kill(t, e)
	say("after the new file was loaded")

	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	_, err = generate(t.Context(), p, hello)
	if err == nil {
		t.Fatal("a server without its file answers")
	}
	t.Logf("truncated: %v", err)
	eventually(t, "the failure", func() bool { return e.Status().State == llmgateway.StateFailed })
	if got := e.Status().Detail; got != "the model file starter.gguf is incomplete; was its download interrupted?" {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(path, original, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recovery", func() bool {
		_, err := generate(t.Context(), p, hello)
		return err == nil
	})
}

func TestWritingIntoAModelFileInUseIsSaid(t *testing.T) {
	e := engine(t, nil)
	acquire(t, e)
	if err := os.Chtimes(e.key.ModelPath, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	kill(t, e)
	eventually(t, "the failure", func() bool { return e.LastFailure() != nil })
	if got := e.LastFailure().Detail; !strings.Contains(got, "the model file was written to while it was in use") {
		t.Errorf("got %q", got)
	}
}
