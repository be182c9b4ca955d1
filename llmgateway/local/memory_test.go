package local

import (
	"reflect"
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

func TestMemoryKnowsHowAModelIsLoaded(t *testing.T) {
	own := gguf.Load{Context: 8192, Slots: 1, CPU: thisCPU(), Checkpoints: contextCheckpoints}
	args := func(args ...string) Config { return Config{Args: JoinArgs(args)} }
	for _, test := range []struct {
		name   string
		config Config
		change func(l *gguf.Load)
	}{
		{"by itself", Config{}, func(*gguf.Load) {}},
		{"slots and types", Config{NCtx: 512, NParallel: 3, CacheTypeK: "q8_0", CacheTypeV: "q4_0"}, func(l *gguf.Load) {
			l.Context, l.Slots, l.TypeK, l.TypeV = 512, 3, "q8_0", "q4_0"
		}},
		{"batches", Config{NBatch: 1024, Tuning: Tuning{NUBatch: 256}}, func(l *gguf.Load) { l.Batch, l.UBatch = 1024, 256 }},
		{"embeddings", Config{Embeddings: "mean"}, func(l *gguf.Load) { l.Embeddings, l.UBatch = true, 2048 }},
		{"embeddings in batches", Config{Embeddings: "mean", NBatch: 512}, func(l *gguf.Load) {
			l.Embeddings, l.Batch, l.UBatch = true, 512, 512
		}},
		{"without", Config{FlashAttn: "off", NoMmap: true}, func(l *gguf.Load) { l.NoFlashAttn, l.NoMmap = true, true }},
		{"some layers on a GPU", Config{NGPULayers: "12"}, func(l *gguf.Load) { l.GPULayers = 12 }},
		{"as many as fit on a GPU", Config{NGPULayers: "auto"}, func(*gguf.Load) {}},
		{"all layers on a GPU", Config{NGPULayers: "all"}, func(l *gguf.Load) { l.GPULayers = 1 << 20 }},
		{"further flags", args("--ubatch-size", "64", "-b=128", "--ctx-checkpoints", "9", "--swa-full", "--no-repack"), func(l *gguf.Load) {
			l.UBatch, l.Batch, l.Checkpoints, l.FullWindow, l.CPU = 64, 128, 9, true, gguf.PlainCPU
		}},
		{"flags of others", args("--seed", "1", "--ubatch-size"), func(*gguf.Load) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := own
			test.change(&want)
			if got := test.config.load(gguf.Info{ContextLength: 8192}, nil); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}
