// Package starter makes a language model by hand: small enough to be part of a repository, and with answers that can be
// checked. It greets, repeats a code word out of the prompt, names the colour of an image, calls tools that are offered,
// tells that they answered, and counts without end. Nothing is trained; every weight is written here, and has a reason.
//
// It is a model like any other to llama.cpp: architecture llama, two blocks of attention, a tokenizer, a chat template. A
// wrong code word in an answer therefore proves that two conversations were mixed up, be it in a KV cache, between slots
// of a server, or in a gateway.
//
// How it works, in the order of the files. A token that means something has a dimension of its own (vocabulary.go,
// residual.go). The heads of the first block find out for each token in which turn of the conversation it is; those of
// the second find the latest token of a kind and copy it to where the answer is being written (attention.go, blocks.go).
// What a vision projector made of an image is a token like any other, with its colours for a meaning (projector.go).
// The output matrix then decides what comes next: mostly the phrase that follows the one just said (answer.go).
package starter

import (
	_ "embed"
	"fmt"
	"io"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

//go:generate go run ./write ../../../models/starter.gguf ../../../models/starter-mmproj.gguf

//go:embed chat_template.jinja
var chatTemplate string

const contextLength = 32768

// Write writes the model as a GGUF file. It writes the same bytes every time.
func Write(out io.Writer) error {
	v := newVocabulary()
	low, err := lower(v)
	if err != nil {
		return fmt.Errorf("making the lower block: %w", err)
	}
	high, err := upper(v)
	if err != nil {
		return fmt.Errorf("making the upper block: %w", err)
	}
	answer := output(v)
	if v.err != nil {
		return fmt.Errorf("making the vocabulary: %w", v.err)
	}

	w := new(gguf.Writer)
	describe(w, v)
	if err := tensors(w, v.embedding(), answer, low, high); err != nil {
		return err
	}
	return w.Write(out)
}

func describe(w *gguf.Writer, v *vocabulary) {
	w.Set("general.architecture", "llama")
	w.Set("general.type", "model")
	w.Set("general.name", "starter")
	w.Set("general.description", "A model with weights made by hand, for trying out and testing a gateway.")
	w.Set("general.license", "apache-2.0")
	w.Set("general.file_type", uint32(1))
	w.Set("general.sampling.temp", float32(0)) // equal requests get equal answers, unless they say otherwise
	w.Set("llama.context_length", uint32(contextLength))
	w.Set("llama.embedding_length", uint32(width))
	w.Set("llama.block_count", uint32(2))
	w.Set("llama.feed_forward_length", uint32(feedForward))
	w.Set("llama.attention.head_count", uint32(heads))
	w.Set("llama.attention.head_count_kv", uint32(heads))
	w.Set("llama.attention.key_length", uint32(size))
	w.Set("llama.attention.value_length", uint32(size))
	w.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-6))
	w.Set("llama.rope.dimension_count", uint32(size))
	w.Set("llama.vocab_size", uint32(len(v.tokens)))

	var texts []string
	var kinds []int32
	for _, t := range v.tokens {
		texts = append(texts, t.text)
		kinds = append(kinds, t.kind)
	}
	w.Set("tokenizer.ggml.model", "llama")
	w.Set("tokenizer.ggml.tokens", texts)
	w.Set("tokenizer.ggml.scores", make([]float32, len(texts)))
	w.Set("tokenizer.ggml.token_type", kinds)
	w.Set("tokenizer.ggml.bos_token_id", uint32(v.id(begin)))
	w.Set("tokenizer.ggml.eos_token_id", uint32(v.id(end)))
	w.Set("tokenizer.ggml.unknown_token_id", uint32(0))
	w.Set("tokenizer.ggml.add_bos_token", true)
	w.Set("tokenizer.ggml.add_eos_token", false)
	w.Set("tokenizer.ggml.add_space_prefix", false)
	w.Set("tokenizer.chat_template", chatTemplate)
}

// feedForward is the width of the part of each block that has nothing to do; the architecture asks for one.
const feedForward = 32

func tensors(w *gguf.Writer, embedding, answer matrix, blocks ...block) error {
	named := []struct {
		name string
		matrix
	}{{"token_embd", embedding}, {"output", answer}}
	for i, b := range blocks {
		prefix := fmt.Sprintf("blk.%d.", i)
		named = append(named, []struct {
			name string
			matrix
		}{
			{prefix + "attn_q", b.query},
			{prefix + "attn_k", b.key},
			{prefix + "attn_v", b.value},
			{prefix + "attn_output", b.output},
			{prefix + "ffn_gate", newMatrix(width, feedForward)},
			{prefix + "ffn_up", newMatrix(width, feedForward)},
			{prefix + "ffn_down", newMatrix(feedForward, width)},
		}...)
		for _, norm := range []string{"attn_norm", "ffn_norm"} {
			w.Add(prefix+norm+".weight", gguf.F32, []uint64{width}, gguf.Single(normWeights()))
		}
	}
	w.Add("output_norm.weight", gguf.F32, []uint64{width}, gguf.Single(normWeights()))

	// llama.cpp turns queries and keys by an angle that grows with the position. Divided by this it is zero: the model
	// does not know where in the prompt a token is, only in which turn.
	still := make([]float32, size/2)
	for i := range still {
		still[i] = 1e30
	}
	w.Add("rope_freqs.weight", gguf.F32, []uint64{size / 2}, gguf.Single(still))

	for _, m := range named {
		if err := m.write(w, m.name+".weight"); err != nil {
			return fmt.Errorf("writing %s: %w", m.name, err)
		}
	}
	return nil
}
