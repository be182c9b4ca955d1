// Package random writes models with random weights: nonsense to talk to, but in the shape of real architectures, so that
// llama-server loads them, needs memory for them, and computes as it does with the real ones. Nothing of them is in the
// repository; tests and benchmarks write them when they need them.
package random

import (
	"fmt"
	"io"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// Shape is an architecture and its dimensions. What an architecture does not have stays zero.
type Shape struct {
	// Architecture is one of llama.cpp's names; see Architectures.
	Architecture string

	// Type is the type of the matrices, and EmbeddingType that of the token embedding if it is another.
	Type, EmbeddingType gguf.TensorType

	// Vocabulary is the number of tokens, at least 300, and Context how many the model claims to be trained for.
	Vocabulary, Context int

	Blocks, Width, FeedForward int

	// Heads and KVHeads are the heads of queries, and of keys and values, of HeadSize each.
	Heads, KVHeads, HeadSize int

	// Window is how far back the blocks with a sliding window look.
	Window int

	// Experts is how many feed-forward networks there are in a block, of FeedForward each, and ExpertsUsed how many of
	// them each token takes.
	Experts, ExpertsUsed int

	// Rank is to how much keys and values are compressed together (deepseek2).
	Rank int

	// State is the size of the recurrent state for each of the Inner dimensions of a state space (falcon-h1, mamba).
	State, Inner int
}

// Small returns one shape for each architecture, small enough for tests. Their memory is not dominated by any one of
// weights, cache, and buffers.
func Small() []Shape {
	return []Shape{
		{
			Architecture: "llama", Type: gguf.Q4_0, EmbeddingType: gguf.Q8_0, Vocabulary: 32000, Context: 8192,
			Blocks: 16, Width: 768, FeedForward: 2048, Heads: 12, KVHeads: 4, HeadSize: 64,
		},
		{
			Architecture: "qwen2", Type: gguf.Q8_0, Vocabulary: 151936, Context: 8192,
			Blocks: 12, Width: 384, FeedForward: 1536, Heads: 6, KVHeads: 6, HeadSize: 64,
		},
		{
			Architecture: "qwen3", Type: gguf.Q4_K, EmbeddingType: gguf.Q6_K, Vocabulary: 65536, Context: 8192,
			Blocks: 14, Width: 512, FeedForward: 1536, Heads: 8, KVHeads: 4, HeadSize: 128,
		},
		{
			Architecture: "gemma3", Type: gguf.Q8_0, Vocabulary: 65536, Context: 8192,
			Blocks: 12, Width: 512, FeedForward: 2048, Heads: 4, KVHeads: 2, HeadSize: 256, Window: 512,
		},
		{
			Architecture: "phi3", Type: gguf.F16, Vocabulary: 32064, Context: 8192,
			Blocks: 10, Width: 512, FeedForward: 1408, Heads: 8, KVHeads: 8, HeadSize: 64, Window: 512,
		},
		{
			Architecture: "qwen3moe", Type: gguf.Q8_0, Vocabulary: 65536, Context: 8192,
			Blocks: 8, Width: 512, FeedForward: 256, Heads: 8, KVHeads: 4, HeadSize: 128, Experts: 24, ExpertsUsed: 4,
		},
		{
			Architecture: "deepseek2", Type: gguf.Q8_0, Vocabulary: 65536, Context: 8192,
			Blocks: 8, Width: 512, FeedForward: 256, Heads: 8, KVHeads: 1, HeadSize: 64, Rank: 512, Experts: 16, ExpertsUsed: 4,
		},
		{
			Architecture: "gpt-oss", Type: gguf.MXFP4, EmbeddingType: gguf.Q8_0, Vocabulary: 65536, Context: 8192,
			Blocks: 10, Width: 512, FeedForward: 512, Heads: 16, KVHeads: 8, HeadSize: 64, Window: 128, Experts: 8, ExpertsUsed: 2,
		},
		{
			Architecture: "lfm2", Type: gguf.Q8_0, Vocabulary: 65536, Context: 8192,
			Blocks: 9, Width: 640, FeedForward: 2048, Heads: 10, KVHeads: 5, HeadSize: 64,
		},
		{
			Architecture: "falcon-h1", Type: gguf.Q8_0, Vocabulary: 32768, Context: 8192,
			Blocks: 12, Width: 512, FeedForward: 1536, Heads: 8, KVHeads: 2, HeadSize: 64, State: 128, Inner: 1024,
		},
		{
			Architecture: "mamba", Type: gguf.F16, Vocabulary: 32768, Context: 8192,
			Blocks: 16, Width: 512, State: 16, Inner: 1024,
		},
	}
}

// HalfBillion returns the shape of Qwen2.5-0.5B: half a billion weights and 151936 tokens, for measuring how fast a
// real model of its size is served.
func HalfBillion(t gguf.TensorType) Shape {
	return Shape{
		Architecture: "qwen2", Type: t, Vocabulary: 151936, Context: 32768,
		Blocks: 24, Width: 896, FeedForward: 4864, Heads: 14, KVHeads: 2, HeadSize: 64,
	}
}

// Write writes a model as a GGUF file, the same bytes every time.
func (s Shape) Write(out io.Writer) error {
	describe, ok := architectures[s.Architecture]
	switch {
	case !ok:
		return fmt.Errorf("no shape of the architecture %q", s.Architecture)
	case s.Vocabulary < minVocabulary:
		return fmt.Errorf("a vocabulary of %d tokens; it takes %d", s.Vocabulary, minVocabulary)
	}
	m := &model{Shape: s, w: new(gguf.Writer)}
	m.w.Set("general.architecture", s.Architecture)
	m.w.Set("general.type", "model")
	m.w.Set("general.name", "random "+s.Architecture)
	m.set("vocab_size", s.Vocabulary)
	m.set("context_length", s.Context)
	m.set("embedding_length", s.Width)
	m.set("block_count", s.Blocks)
	m.w.Set(m.key("attention.layer_norm_rms_epsilon"), float32(1e-6))
	describe(m)
	if m.err != nil {
		return fmt.Errorf("making a random %s: %w", s.Architecture, m.err)
	}
	return m.w.Write(out)
}

const minVocabulary = 300
