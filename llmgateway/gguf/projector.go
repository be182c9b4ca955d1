package gguf

// most is how many vectors the projectors make of an image that look at it in its own size: their own limits, unless their
// headers say another. All others look at a square of a fixed size.
var most = map[string]uint64{
	"qwen2vl_merger": 4096, "qwen2.5vl_merger": 4096, "qwen3vl_merger": 4096, "glm4v": 4096, "kimik25": 4096, "muse-glimmer": 4096,
	"pixtral": 1024, "kimivl": 1024, "gemma4v": 1120, "gemma4uv": 1120, "lfm2": 256, "minimax_m3": 576, "hunyuanvl": 16384, "youtuvl": 62500,
}

// projector returns what a vision projector takes: its weights, which are read and not mapped, and its buffers for one image.
// What it takes to unpack an image before it is shrunk is left out: it depends on who sends it.
func (i Info) projector() uint64 {
	const float, half, channels = 4, 2, 3
	v := i.layers.vision
	patches := v.patches()
	network := v.feedForward
	if v.gated {
		network = product(3, network)
	}
	return sum(
		i.WeightBytes,
		product(float, patches, max(sum(network, product(3, v.width)), product(7, v.width))),
		product(half, patches, max(v.feedForward, v.width)),
		// The image itself, when it is made and when it is taken.
		product(2*float*channels, patches, v.patch, v.patch),
	)
}

// vision is what a projector's header says.
type vision struct {
	kind                                               string
	image, patch, maxPixels, merge, width, feedForward uint64
	gated                                              bool
}

func (f *File) readVision() vision {
	v := vision{
		kind:        f.text("clip.projector_type"),
		image:       f.uint("clip.vision.image_size"),
		patch:       f.uint("clip.vision.patch_size"),
		maxPixels:   f.uint("clip.vision.image_max_pixels"),
		merge:       f.uintOr("clip.vision.spatial_merge_size", 2),
		width:       f.uint("clip.vision.embedding_length"),
		feedForward: f.uint("clip.vision.feed_forward_length"),
	}
	for _, t := range f.Tensors {
		v.gated = v.gated || t.Name == "v.blk.0.ffn_gate.weight"
	}
	return v
}

// patches is how many parts an image is cut into at most.
func (v vision) patches() uint64 {
	patch := max(v.patch, 1)
	side := v.image / patch
	n := product(side, side)
	if tokens, ok := most[v.kind]; ok {
		n = product(tokens, v.merge, v.merge)
	}
	if v.maxPixels != 0 {
		n = v.maxPixels / patch / patch
	}
	return n
}
