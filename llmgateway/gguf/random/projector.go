package random

import (
	"fmt"
	"io"
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// Projector is the shape of a vision projector as Gemma 3 has it.
type Projector struct {
	// Image and Patch are the sides, in pixels, of what is looked at, and of the parts it is cut into.
	Image, Patch int

	Blocks, Width, FeedForward, Heads int

	// Out is the width of the language model.
	Out int
}

// SmallProjector returns a projector for the small model of gemma3.
func SmallProjector() Projector {
	return Projector{Image: 672, Patch: 14, Blocks: 6, Width: 384, FeedForward: 1536, Heads: 6, Out: 512}
}

// Write writes the projector as a GGUF file, the same bytes every time.
func (p Projector) Write(out io.Writer) error {
	m := &model{Shape: Shape{Architecture: "clip", Type: gguf.F16}, w: new(gguf.Writer)}
	m.w.Set("general.architecture", "clip")
	m.w.Set("general.type", "mmproj")
	m.w.Set("clip.has_vision_encoder", true)
	m.w.Set("clip.projector_type", "gemma3")
	m.w.Set("clip.use_gelu", true)
	m.w.Set("clip.vision.image_mean", []float32{0.5, 0.5, 0.5})
	m.w.Set("clip.vision.image_std", []float32{0.5, 0.5, 0.5})
	m.w.Set("clip.vision.attention.layer_norm_epsilon", float32(1e-6))
	m.set("vision.image_size", p.Image)
	m.set("vision.patch_size", p.Patch)
	m.set("vision.block_count", p.Blocks)
	m.set("vision.embedding_length", p.Width)
	m.set("vision.feed_forward_length", p.FeedForward)
	m.set("vision.attention.head_count", p.Heads)
	m.set("vision.projection_dim", p.Out)

	side := p.Image / p.Patch
	m.matrix("v.patch_embd", p.Patch, p.Patch, 3, p.Width)
	m.bias("v.patch_embd", p.Width)
	m.plain("v.position_embd.weight", p.Width, side*side)
	for i := range p.Blocks {
		prefix := "v.blk." + strconv.Itoa(i) + "."
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_out"} {
			m.matrix(prefix+name, p.Width, p.Width)
			m.bias(prefix+name, p.Width)
		}
		for _, name := range []string{"ln1", "ln2"} {
			m.norm(prefix+name, p.Width)
			m.bias(prefix+name, p.Width)
		}
		m.matrix(prefix+"ffn_up", p.Width, p.FeedForward)
		m.bias(prefix+"ffn_up", p.FeedForward)
		m.matrix(prefix+"ffn_down", p.FeedForward, p.Width)
		m.bias(prefix+"ffn_down", p.Width)
	}
	m.norm("v.post_ln", p.Width)
	m.bias("v.post_ln", p.Width)
	m.plain("mm.input_projection.weight", p.Out, p.Width)
	m.norm("mm.soft_emb_norm", p.Width)
	if m.err != nil {
		return fmt.Errorf("making a random projector: %w", m.err)
	}
	return m.w.Write(out)
}
