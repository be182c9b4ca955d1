package gguf

import (
	"math"
	"math/bits"
)

// Load is how llama-server is going to load a model, as far as its memory depends on it. The zero value of a field means
// llama-server's own choice.
type Load struct {
	// Context is the number of tokens of one slot, Slots how many there are.
	Context, Slots int

	// Batch is how many tokens are taken at once, UBatch how many of them are computed at once.
	Batch, UBatch int

	// TypeK and TypeV are the types of the KV cache, in llama.cpp's names.
	TypeK, TypeV string

	// NoFlashAttn is set where all scores of attention are kept at once.
	NoFlashAttn bool

	// NoMmap is set where files are read and not mapped.
	NoMmap bool

	// FullWindow is set where blocks that look back only a little keep everything all the same.
	FullWindow bool

	// Embeddings is set where the model is asked for embeddings: llama-server then computes what would come next after
	// every token, although nobody asks.
	Embeddings bool

	// GPULayers is how many blocks a GPU takes, the last ones first; one above their number is the output. What is on the
	// GPU does not count.
	GPULayers int

	// CPU is what llama.cpp takes the CPU for, see [CPU].
	CPU CPU

	// Checkpoints is how many states of a conversation a slot keeps that it could not go back to otherwise.
	Checkpoints int

	// PromptCacheBytes is the most that prompts without a slot may take.
	PromptCacheBytes uint64

	// Projector is the header of the vision projector, or nil.
	Projector *Info
}

// Memory is an estimate of the host memory that a loaded model takes, in bytes, by what it is for. It is made for the peak
// of llama-server's resident size; mapped files are part of it.
type Memory struct {
	// Weights are the files' tensors, and Copies what llama.cpp rearranges of them for the CPU.
	Weights, Copies uint64
	// KV is the cache of all slots, the states of recurrent blocks included, and Checkpoints what is kept of earlier ones.
	KV, Checkpoints uint64
	// Compute is for what is between the blocks, and Output for what comes out of the last.
	Compute, Output uint64
	// Projector is all that images take.
	Projector uint64
	// PromptCache is as large as it may become.
	PromptCache uint64
	// Overhead is the program itself, and the vocabulary.
	Overhead uint64
}

// Total returns the sum, or the largest number if it is more than that.
func (m Memory) Total() uint64 {
	return sum(m.Weights, m.Copies, m.KV, m.Checkpoints, m.Compute, m.Output, m.Projector, m.PromptCache, m.Overhead)
}

// Memory estimates what the model takes once a request has filled its context. Of a model in several files, i must be the
// first one's header, with the WeightBytes of all of them; the others are taken to be like it.
//
// It knows the architectures that are common in 2026. One that it does not know is taken for a plain transformer. No
// header makes it fail; where a header claims the impossible, the answer is large.
func (i Info) Memory(l Load) Memory {
	l = l.complete()
	copies, copied := i.copies(l)
	m := Memory{
		Weights:     i.onHost(l),
		Copies:      copies,
		KV:          i.cache(l),
		Checkpoints: product(uint64(l.Checkpoints), uint64(l.Slots), i.checkpoint(l)),
		Compute:     i.compute(l),
		Output:      i.output(l),
		PromptCache: l.PromptCacheBytes,
		Overhead:    i.overhead(l),
	}
	if l.NoMmap {
		// What is rearranged is read piece by piece, and is not there as it was.
		m.Weights -= min(m.Weights, copied)
	}
	if l.Projector != nil {
		m.Projector = l.Projector.projector()
	}
	return m
}

// complete fills in what llama-server chooses.
func (l Load) complete() Load {
	l.Context = max(l.Context, 1)
	l.Slots = max(l.Slots, 1)
	l.GPULayers = max(l.GPULayers, 0)
	l.Checkpoints = max(l.Checkpoints, 0)
	if l.Batch <= 0 {
		l.Batch = 2048
	}
	if l.UBatch <= 0 {
		l.UBatch = 512
	}
	l.Batch = int(min(uint64(l.Batch), l.cells()*uint64(l.Slots)))
	l.UBatch = min(l.UBatch, l.Batch)
	return l
}

// cells is the number of tokens of one slot as llama.cpp rounds it.
func (l Load) cells() uint64 { return align(uint64(l.Context), 256) }

// onHost returns the weights that are not on a GPU. The token embedding never is.
func (i Info) onHost(l Load) uint64 {
	embedding := min(i.layers.embeddingBytes, i.WeightBytes)
	return sum(embedding, i.hostShare(i.WeightBytes-embedding, l))
}

// hostShare returns how much is left of something that is in all blocks and the output alike.
func (i Info) hostShare(n uint64, l Load) uint64 {
	if l.GPULayers == 0 {
		return n
	}
	layers := sum(i.BlockCount, 1)
	left := layers - min(uint64(l.GPULayers), layers)
	high, low := bits.Mul64(n, left)
	quotient, _ := bits.Div64(high, low, layers) // no overflow: left is at most layers
	return quotient
}

// overhead was measured; docs/decisions tell how.
func (i Info) overhead(l Load) uint64 {
	const (
		program    = 17 << 20 // code, libraries, threads
		eachToken  = 200
		eachMerge  = 90
		eachSample = 16 // for each token and slot, to choose the next one
	)
	n := sum(program, product(eachToken, i.VocabSize), product(eachMerge, i.layers.merges), product(eachSample, i.VocabSize, uint64(l.Slots)))
	if !l.NoMmap {
		n = sum(n, i.layers.headerBytes) // mapped with the rest of the file
	}
	return n
}

// product returns a product, or the largest number if it is more than that.
func product(factors ...uint64) uint64 {
	p := uint64(1)
	for _, f := range factors {
		high, low := bits.Mul64(p, f)
		if p = low; high != 0 {
			// A factor to come may be zero.
			p = math.MaxUint64
		}
	}
	return p
}

// sum returns a sum, or the largest number if it is more than that.
func sum(terms ...uint64) uint64 {
	var s uint64
	for _, t := range terms {
		if s > math.MaxUint64-t {
			return math.MaxUint64
		}
		s += t
	}
	return s
}
