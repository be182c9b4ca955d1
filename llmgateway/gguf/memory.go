package gguf

// Load is how a model is going to be loaded, as far as its memory depends on it.
type Load struct {
	// Context is the number of tokens of one slot, Slots how many there are.
	Context, Slots int
	// TypeK and TypeV are the types of the KV cache, in llama.cpp's names; empty means f16.
	TypeK, TypeV string
	// PromptCacheBytes is the most that prompts without a slot may take in host memory.
	PromptCacheBytes uint64
	// Projector is the header of the vision projector, or nil.
	Projector *Info
}

// Memory is an estimate of what a loaded model takes, in bytes, by what it is for.
type Memory struct {
	Weights, KV, Compute, Projector, PromptCache, Overhead uint64
}

// Total returns the sum.
func (m Memory) Total() uint64 {
	return m.Weights + m.KV + m.Compute + m.Projector + m.PromptCache + m.Overhead
}

// Memory estimates what the model takes once a request has filled its context. WeightBytes must be the sum over all
// parts of the model.
func (i Info) Memory(l Load) Memory {
	var perToken uint64
	for block := range int(min(i.BlockCount, maxBlocks)) {
		perToken += 2 * i.HeadCountKV.At(block) * (i.KeyLength + i.ValueLength)
	}
	m := Memory{
		Weights:     i.WeightBytes,
		KV:          perToken * uint64(max(l.Context, 0)) * uint64(max(l.Slots, 1)),
		PromptCache: l.PromptCacheBytes,
		Overhead:    64 << 20,
	}
	if l.Projector != nil {
		m.Projector = l.Projector.WeightBytes
	}
	return m
}

// maxBlocks bounds what a header may claim.
const maxBlocks = 4096
