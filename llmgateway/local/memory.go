package local

import "github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"

// memory estimates what a process for c takes at most. The model's WeightBytes must be the sum over all its parts;
// projector is nil without one.
func (c Config) memory(model gguf.Info, projector *gguf.Info) gguf.Memory {
	return model.Memory(c.load(model, projector))
}

// load says how c loads the model, as far as its memory depends on it.
func (c Config) load(model gguf.Info, projector *gguf.Info) gguf.Load {
	return gguf.Load{
		Context:          c.context(model),
		Slots:            c.slots(),
		TypeK:            c.CacheTypeK,
		TypeV:            c.CacheTypeV,
		PromptCacheBytes: uint64(c.CacheRAM) << 20,
		Projector:        projector,
	}
}
