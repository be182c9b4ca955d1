package local

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReportsNameNoFolders(t *testing.T) {
	c := Config{ModelPath: "/srv/my models/qwen.gguf", Binary: "/opt/llama/llama-server"}
	for line, want := range map[string]string{
		"load_model: loading model '/srv/my models/qwen.gguf'":         "load_model: loading model 'qwen.gguf'",
		"/opt/llama/llama-server: error while loading libx.so":         "llama-server: error while loading libx.so",
		"failed to open /var/lib/llm/a.gguf: No such file":             "failed to open a.gguf: No such file",
		"llama_kv_cache: size = 12.00 MiB ( 4096 cells, 1/1 seqs)":     "llama_kv_cache: size = 12.00 MiB ( 4096 cells, 1/1 seqs)",
		"0.00.000.001 E srv    load_model: failed to load, 3 / 4 done": "0.00.000.001 E srv    load_model: failed to load, 3 / 4 done",
	} {
		if got := c.withoutFolders(line); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", line, got, want)
		}
	}
	e := engine(t, nil, "--load", "1ms", "--failing", "99", "--starts", filepath.Join(t.TempDir(), "starts"), "--say", "cannot open "+t.TempDir()+"/a.gguf")
	_, _ = e.Acquire(t.Context())
	r := e.Report()
	if r.LastFailure == nil || !slices.ContainsFunc(r.LastFailure.Lines, func(line string) bool { return strings.Contains(line, "cannot open a.gguf") }) {
		t.Errorf("got %+v", r.LastFailure)
	}
	if r.EstimatedBytes == 0 || r.ModelFile != "fake-model.gguf" || r.Resident || r.PID != 0 || r.Running != 0 || r.Waiting != 0 {
		t.Errorf("got %+v", r)
	}
}
