package local

import (
	"strconv"
	"strings"

	"golang.org/x/sys/cpu"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// memory estimates what a process for c takes at most. The model's WeightBytes must be the sum over all its parts;
// projector is nil without one.
func (c Config) memory(model gguf.Info, projector *gguf.Info) gguf.Memory {
	return model.Memory(c.load(model, projector))
}

// load says how c loads the model.
func (c Config) load(model gguf.Info, projector *gguf.Info) gguf.Load {
	l := c.Load()
	l.Context, l.Projector = c.context(model), projector
	return l
}

// Load says how c loads a model, as far as its memory depends on it and not on the model: without a projector, and with the
// context that is asked for, or 0.
//
// Layers that n_gpu_layers gives to a GPU do not count. Where it is left open, all of them count, because how many will fit
// is not known before; whoever has a GPU and a budget of host memory should say the number.
func (c Config) Load() gguf.Load {
	l := gguf.Load{
		Context:          c.NCtx,
		Slots:            c.slots(),
		Batch:            c.NBatch,
		UBatch:           c.NUBatch,
		TypeK:            c.CacheTypeK,
		TypeV:            c.CacheTypeV,
		NoFlashAttn:      c.FlashAttn == "off",
		NoMmap:           c.NoMmap,
		GPULayers:        c.gpuLayers(),
		CPU:              thisCPU(),
		Checkpoints:      contextCheckpoints,
		PromptCacheBytes: uint64(max(c.CacheRAM, 0)) << 20,
	}
	if c.Embeddings != "" {
		l.Embeddings = true
		l.UBatch = c.embeddingBatch()
	}
	if c.Args != "" {
		loadArgs(&l, strings.Split(c.Args, argSep))
	}
	return l
}

// loadArgs heeds those of the further flags that matter most.
func loadArgs(l *gguf.Load, args []string) {
	for i, arg := range args {
		flag, value, ok := strings.Cut(arg, "=")
		if !ok && i+1 < len(args) {
			value = args[i+1]
		}
		n, err := strconv.Atoi(value)
		switch flag {
		case "-ub", "--ubatch-size":
			if err == nil {
				l.UBatch = n
			}
		case "-b", "--batch-size":
			if err == nil {
				l.Batch = n
			}
		case "-ctxcp", "--ctx-checkpoints", "--swa-checkpoints":
			if err == nil {
				l.Checkpoints = n
			}
		case "-nr", "--no-repack":
			l.CPU = gguf.PlainCPU
		case "--swa-full":
			l.FullWindow = true
		}
	}
}

// gpuLayers returns how many layers certainly go to a GPU.
func (c Config) gpuLayers() int {
	if c.NGPULayers == "all" {
		const all = 1 << 20
		return all
	}
	n, err := strconv.Atoi(c.NGPULayers)
	if err != nil {
		return 0
	}
	return n
}

// thisCPU tells what llama.cpp makes of the CPU.
func thisCPU() gguf.CPU {
	switch {
	case cpu.X86.HasAMXInt8 && cpu.X86.HasAVX512VNNI:
		return gguf.AMX
	case cpu.X86.HasAVX512F:
		return gguf.AVX512
	case cpu.X86.HasAVX2:
		return gguf.AVX2
	case cpu.ARM64.HasASIMDDP:
		return gguf.DotProduct
	default:
		return gguf.PlainCPU
	}
}
