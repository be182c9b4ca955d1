package local

import (
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

func TestMemoryGrowsWithTheContextOfAllSlots(t *testing.T) {
	file, err := gguf.Open("../../models/starter.gguf")
	if err != nil {
		t.Fatal(err)
	}
	model := file.Info()
	one := Config{NCtx: 1024}.memory(model, nil)
	eight := Config{NCtx: 4096, NParallel: 2}.memory(model, nil)
	if one.KV == 0 || eight.KV != 8*one.KV {
		t.Errorf("got %d and %d bytes for the KV cache", one.KV, eight.KV)
	}
	cached := Config{NCtx: 1024, CacheRAM: 3}.memory(model, nil)
	if got, want := cached.Total()-one.Total(), uint64(3<<20); got != want {
		t.Errorf("got %d bytes for the prompt cache, want %d", got, want)
	}
}
