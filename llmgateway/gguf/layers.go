package gguf

import "strings"

// layers is what only the estimate of the memory asks of a header.
type layers struct {
	headerBytes, fileBytes uint64
	merges                 uint64

	// matrices are the bytes of matrices by their type; odd are those that AMX does not take: of experts, or with a number
	// of rows that its tiles do not fit.
	matrices, odd map[TensorType]uint64

	embeddingBytes uint64
	embeddingType  TensorType
	tied           bool // the embedding is the output matrix, too

	feedForward, expertsUsed, expertFeedForward uint64

	keyLengthWindow, valueLengthWindow uint64
	windows                            PerBlock // of each block, whether it has a window
	sharedKV                           uint64   // blocks at the end that have no cache of their own
	compressed                         bool     // keys and values are cached as one

	recurrent                         PerBlock
	interval                          uint64 // of blocks that attend
	convolution, inner, state, groups uint64
	steps, shortConvolution, shifts   uint64
	headRWKV, headKDA                 uint64

	vision vision
}

// readLayers collects what the estimate of the memory needs. prefix is that of the architecture's keys.
func (f *File) readLayers(prefix string) layers {
	l := layers{
		headerBytes: f.DataOffset,
		fileBytes:   f.TensorBytes(),
		merges:      f.Metadata["tokenizer.ggml.merges"].Len,

		feedForward:       largest(f.perBlock(prefix + "feed_forward_length")),
		expertsUsed:       largest(f.perBlock(prefix + "expert_used_count")),
		expertFeedForward: largest(f.perBlock(prefix + "expert_feed_forward_length")),

		keyLengthWindow:   f.uint(prefix + "attention.key_length_swa"),
		valueLengthWindow: f.uint(prefix + "attention.value_length_swa"),
		windows:           f.perBlock(prefix + "attention.sliding_window_pattern"),
		sharedKV:          f.uint(prefix + "attention.shared_kv_layers"),
		compressed:        f.uint(prefix+"attention.key_length_mla") != 0,

		recurrent:        f.perBlock(prefix + "attention.recurrent_layers"),
		interval:         f.uint(prefix + "full_attention_interval"),
		convolution:      f.uint(prefix + "ssm.conv_kernel"),
		inner:            f.uint(prefix + "ssm.inner_size"),
		state:            f.uint(prefix + "ssm.state_size"),
		groups:           f.uint(prefix + "ssm.group_count"),
		steps:            f.uint(prefix + "ssm.time_step_rank"),
		shortConvolution: f.uint(prefix + "shortconv.l_cache"),
		shifts:           f.uintOr(prefix+"token_shift_count", 2),
		headRWKV:         f.uint(prefix + "wkv.head_size"),
		headKDA:          f.uint(prefix + "kda.head_dim"),

		vision: f.readVision(),
	}
	l.addTensors(f)
	return l
}

// addTensors sorts the tensors by what is done with them.
func (l *layers) addTensors(f *File) {
	const tile = 32
	l.matrices, l.odd = make(map[TensorType]uint64), make(map[TensorType]uint64)
	output := false
	for _, t := range f.Tensors {
		switch {
		case t.Name == "token_embd.weight":
			l.embeddingBytes, l.embeddingType = t.SizeBytes(), t.Type
			continue
		case t.Name == "output.weight":
			output = true
		case len(t.Dims) < 2, !strings.HasSuffix(t.Name, ".weight"), strings.Contains(t.Name, "_embd"):
			continue
		}
		of := l.matrices
		if t.Dims[1]%tile != 0 || len(t.Dims) == 3 && strings.Contains(t.Name, "_exps") {
			of = l.odd
		}
		of[t.Type] = sum(of[t.Type], t.SizeBytes())
	}
	// Of a model in several files, the output may be in another one; large models have one of their own.
	l.tied = !output && f.uint("split.count") < 2
}

func largest(list PerBlock) uint64 {
	var n uint64
	for _, m := range list {
		n = max(n, m)
	}
	return n
}
