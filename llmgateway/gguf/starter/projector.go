package starter

import (
	"io"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// An image becomes one vector of the language model: llama.cpp shrinks it to a square of side pixels, a convolution takes
// the mean of each channel, and two layers, with a bend between them, make of the means how much the image is of each
// colour. There are no blocks of attention in between. Of the projectors that llama.cpp knows, Janus-Pro's is made like
// that, and puts no text around an image.
const (
	side     = 16
	channels = 3
	features = 32 // of which three are used; kernels like rows of 32
	hidden   = 32 // of which two for each channel are used
)

const (
	// grey is what llama.cpp fills up an image with that is not square. It counts as neither dark nor light.
	grey = 127. / 255
	// steep is how fast a channel turns from dark to light, and bend where it stops: at bend/steep, a sixteenth of what
	// there is between grey and light. GELU, which is smooth at zero, is straight from there on.
	steep = 256
	bend  = 16
)

// WriteProjector writes a vision projector for the model of Write as a GGUF file: with it the model names the colour of an
// image. It writes the same bytes every time.
func WriteProjector(out io.Writer) error { return WriteDetailedProjector(out, 1) }

// WriteDetailedProjector writes a projector like that of WriteProjector to which an image is a square of pieces, with so many in
// each row. Each piece is one token, so that images take as much of a context as they do with other models.
func WriteDetailedProjector(out io.Writer, row int) error {
	w := new(gguf.Writer)
	w.Set("general.architecture", "clip")
	w.Set("general.type", "mmproj")
	w.Set("general.name", "starter")
	w.Set("general.description", "The starter model's eye: it sees the mean colour of an image.")
	w.Set("general.license", "apache-2.0")
	w.Set("general.file_type", uint32(1))
	w.Set("clip.has_vision_encoder", true)
	w.Set("clip.projector_type", "janus_pro")
	w.Set("clip.use_gelu", true)
	w.Set("clip.vision.image_size", uint32(row*side))
	w.Set("clip.vision.patch_size", uint32(side))
	w.Set("clip.vision.image_mean", []float32{grey, grey, grey})
	w.Set("clip.vision.image_std", []float32{0.5, 0.5, 0.5})
	w.Set("clip.vision.embedding_length", uint32(features))
	w.Set("clip.vision.feed_forward_length", uint32(features))
	w.Set("clip.vision.block_count", uint32(0))
	w.Set("clip.vision.attention.head_count", uint32(1))
	w.Set("clip.vision.attention.layer_norm_epsilon", float32(1e-6))
	w.Set("clip.vision.projection_dim", uint32(width))

	means, err := gguf.Half(channelMeans())
	if err != nil {
		return err
	}
	w.Add("v.patch_embd.weight", gguf.F16, []uint64{side, side, channels, features}, means)
	w.Add("v.position_embd.weight", gguf.F32, []uint64{features, uint64(row * row)}, gguf.Single(make([]float32, features*row*row)))

	bent, bias := bends()
	if err := bent.write(w, "mm.0.weight"); err != nil {
		return err
	}
	w.Add("mm.0.bias", gguf.F32, []uint64{hidden}, gguf.Single(bias))
	seen, bias := sees()
	if err := seen.write(w, "mm.1.weight"); err != nil {
		return err
	}
	w.Add("mm.1.bias", gguf.F32, []uint64{width}, gguf.Single(bias))
	return w.Write(out)
}

// channelMeans are the weights of the convolution. Feature n is the mean of channel n, from -1 for dark to 1 for light.
func channelMeans() []float32 {
	const area = side * side
	weights := make([]float32, features*channels*area)
	for channel := range channels {
		from := (channel*channels + channel) * area
		for i := range area {
			weights[from+i] = 1. / area
		}
	}
	return weights
}

// bends turns each mean into two numbers, one that rises from -bend on, and one that rises from bend on. What they differ
// by rises in between and is level elsewhere.
func bends() (weights matrix, bias []float32) {
	weights, bias = newMatrix(features, hidden), make([]float32, hidden)
	for channel := range channels {
		weights.add(2*channel, channel, steep)
		weights.add(2*channel+1, channel, steep)
		bias[2*channel], bias[2*channel+1] = bend, -bend
	}
	return weights, bias
}

// sees makes the vector that stands for the image in a prompt. Of the colour that it has it has 1, of a colour with one
// channel different a half, with two 0.
func sees() (weights matrix, bias []float32) {
	weights, bias = newMatrix(hidden, width), make([]float32, width)
	bias[one], bias[visual] = 1, 1
	for i, c := range colours {
		bias[colour+i] = written / 4
		for channel, light := range []float32{c.r, c.g, c.b} {
			// (rising - risen) / bend - 1 is -1 where the channel is dark and 1 where it is light.
			part := light * written / 4
			weights.add(colour+i, 2*channel, part/bend)
			weights.add(colour+i, 2*channel+1, -part/bend)
			bias[colour+i] -= part //nolint:gosec // G602: the list of colours is fixed
		}
	}
	return weights, bias
}
