package local

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/random"
)

// tolerance is by how much an estimate of the memory may be wrong.
const tolerance = 0.15

// TestMemoryIsWhatAFilledContextTakes compares the estimate with what the process had at most, for models in the shape of
// real architectures and for what a configuration can change.
func TestMemoryIsWhatAFilledContextTakes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	realServer(t)
	type test struct {
		name   string
		shape  string
		config Config
	}
	var tests []test
	for _, shape := range random.Small() {
		tests = append(tests, test{shape.Architecture, shape.Architecture, Config{NCtx: 1024}})
	}
	tests = append(tests,
		test{"four slots", "qwen3", Config{NCtx: 1024, NParallel: 4}},
		test{"window in two slots", "gemma3", Config{NCtx: 1024, NParallel: 2}},
		test{"quantised cache", "qwen3", Config{NCtx: 512, NParallel: 8, CacheTypeK: "q8_0", CacheTypeV: "q4_0"}},
		test{"no flash attention", "qwen2", Config{NCtx: 2048, FlashAttn: "off"}},
		test{"no mmap", "phi3", Config{NCtx: 1024, NoMmap: true}},
		test{"mlock", "phi3", Config{NCtx: 1024, UseMlock: true}},
		test{"nothing rearranged", "phi3", Config{NCtx: 1024, Args: JoinArgs([]string{"--no-repack"})}},
		test{"large batch", "phi3", Config{NCtx: 2048, Tuning: Tuning{NUBatch: 2048}}},
		test{"embeddings", "phi3", Config{NCtx: 1024, Embeddings: "mean"}},
		test{"images", "gemma3", Config{NCtx: 1024, MMProj: "projector"}},
		test{"prompt cache", "phi3", Config{NCtx: 1024, CacheRAM: 64}},
	)
	models := randomModels(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.config.ModelPath = models(test.shape)
			if test.config.MMProj != "" {
				test.config.MMProj = models(test.config.MMProj)
			}
			test.config.NThreads = 1 // several wait for each other in a loop, which is slow where others work, too
			checkMemory(t, test.config)
		})
	}
}

// checkMemory lets a server do what takes most, and compares.
func checkMemory(t *testing.T, config Config) {
	t.Helper()
	e := realEngine(t, io.Discard, config)
	lease := acquire(t, e)
	defer lease.Release()
	found, failure := e.files.check(config, 0)
	if failure != nil {
		t.Fatal(failure.err)
	}
	var projector *gguf.Info
	if config.MMProj != "" {
		file, err := gguf.Open(config.MMProj)
		if err != nil {
			t.Fatal(err)
		}
		info := file.Info()
		projector = &info
	}
	estimate := config.memory(found.model, projector)
	fill(t, lease, config, estimate.Checkpoints > 0)
	peak := peakMemory(t, lease.server.process.cmd.Process.Pid)
	ratio := float64(estimate.Total()) / float64(peak)
	t.Logf("estimate %5.1f MiB, peak %5.1f MiB, ratio %.3f: %s", mebibytes(estimate.Total()), mebibytes(peak), ratio, inMebibytes(estimate))
	if ratio < 1-tolerance || ratio > 1+tolerance {
		t.Errorf("the estimate is %.0f %% of what it took", 100*ratio)
	}
}

// fill sends what takes most: a prompt that fills a slot. The cache of all slots is there from the beginning; but where
// there are states to go back to, each slot gets its prompt, in two steps, which leaves as many of them as are kept.
func fill(t *testing.T, lease *Lease, config Config, steps bool) {
	t.Helper()
	if config.Embeddings != "" {
		post(t, lease, "/v1/embeddings", map[string]any{"input": prompt(0, config.NCtx-1)})
		return
	}
	const answer = 16
	if config.MMProj != "" {
		var picture bytes.Buffer
		if err := png.Encode(&picture, image.NewRGBA(image.Rect(0, 0, 800, 600))); err != nil {
			t.Fatal(err)
		}
		url := "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture.Bytes())
		post(t, lease, "/v1/chat/completions", map[string]any{"max_tokens": answer, "messages": []any{map[string]any{
			"role": "user", "content": []any{map[string]any{"type": "image_url", "image_url": map[string]any{"url": url}}},
		}}})
	}
	conversations, lengths := 1, []int{config.NCtx - answer}
	if steps {
		conversations, lengths = config.slots(), []int{config.NCtx / 2, config.NCtx - answer}
	}
	if config.CacheRAM > 0 {
		conversations = 4
	}
	for number := range conversations {
		for _, length := range lengths {
			post(t, lease, "/completion", map[string]any{
				"prompt": prompt(number, length), "n_predict": answer, "ignore_eos": true, "cache_prompt": true,
				"id_slot": number % config.slots(),
			})
		}
	}
}

// prompt returns the numbers of ordinary tokens.
func prompt(conversation, length int) []int {
	tokens := make([]int, length)
	for i := range tokens {
		tokens[i] = 1000 + (i*7+conversation*1009)%5003
	}
	return tokens
}

func post(t *testing.T, lease *Lease, path string, body any) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://llama"+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := lease.server.transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, resp.Status, answer, err)
	}
}

// peakMemory returns the most that a process ever had.
func peakMemory(t *testing.T, pid int) uint64 {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "VmHWM:" {
			n, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// randomModels returns what writes models when they are first asked for.
func randomModels(t *testing.T) func(name string) string {
	t.Helper()
	folder := t.TempDir()
	return func(name string) string {
		path := filepath.Join(folder, name+".gguf")
		if _, err := os.Stat(path); err == nil {
			return path
		}
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		write := random.SmallProjector().Write
		for _, shape := range random.Small() {
			if shape.Architecture == name {
				write = shape.Write
			}
		}
		if err := write(bufio.NewWriterSize(file, 1<<20)); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

func mebibytes(n uint64) float64 { return float64(n) / (1 << 20) }

func inMebibytes(m gguf.Memory) string {
	return fmt.Sprintf("weights %.1f copies %.1f cache %.1f checkpoints %.1f compute %.1f output %.1f prompts %.1f images %.1f overhead %.1f",
		mebibytes(m.Weights), mebibytes(m.Copies), mebibytes(m.KV), mebibytes(m.Checkpoints), mebibytes(m.Compute), mebibytes(m.Output),
		mebibytes(m.PromptCache), mebibytes(m.Projector), mebibytes(m.Overhead))
}
