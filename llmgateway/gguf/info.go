package gguf

import "fmt"

// Info is what a header says about its model. What the file does not say is zero.
type Info struct {
	Architecture string
	Name         string
	FileType     FileType

	// ContextLength is how many tokens the model was trained to see at once.
	ContextLength uint64

	BlockCount        uint64
	EmbeddingLength   uint64
	FeedForwardLength uint64
	ExpertCount       uint64

	// HeadCount and HeadCountKV are the heads of queries, and of keys and values, of each block.
	HeadCount, HeadCountKV PerBlock

	// KeyLength and ValueLength are the size of one head.
	KeyLength, ValueLength uint64

	// SlidingWindow is how far back some of the blocks look, or 0 if all look at everything.
	SlidingWindow uint64

	VocabSize    uint64
	ChatTemplate string

	// WeightBytes is how much memory the tensors of this file take.
	WeightBytes uint64

	// SplitCount is the number of files the model is split into, and SplitNo counts this one from 0.
	// A model in one file has 0 of them.
	SplitCount, SplitNo uint64

	layers layers
}

// Info collects what the header says about the model, with llama.cpp's defaults for what it leaves out.
func (f *File) Info() Info {
	i := Info{
		Architecture: f.text("general.architecture"),
		Name:         f.text("general.name"),
		FileType:     FileTypeUnknown,
		ChatTemplate: f.text("tokenizer.chat_template"),
		SplitCount:   f.uint("split.count"),
		SplitNo:      f.uint("split.no"),
		WeightBytes:  f.TensorBytes(),
	}
	if v, ok := f.Metadata["general.file_type"].Uint(); ok {
		i.FileType = FileType(v)
	}
	arch := i.Architecture + "."
	i.ContextLength = f.uint(arch + "context_length")
	i.BlockCount = f.uint(arch + "block_count")
	i.EmbeddingLength = f.uint(arch + "embedding_length")
	i.FeedForwardLength = f.uint(arch + "feed_forward_length")
	i.ExpertCount = f.uint(arch + "expert_count")
	i.SlidingWindow = f.uint(arch + "attention.sliding_window")

	i.HeadCount = f.perBlock(arch + "attention.head_count")
	i.HeadCountKV = f.perBlock(arch + "attention.head_count_kv")
	if len(i.HeadCountKV) == 0 {
		i.HeadCountKV = i.HeadCount
	}
	var head uint64
	if n := i.HeadCount.At(0); n > 0 {
		head = i.EmbeddingLength / n
	}
	i.KeyLength = f.uintOr(arch+"attention.key_length", head)
	i.ValueLength = f.uintOr(arch+"attention.value_length", head)

	i.VocabSize = f.uintOr(arch+"vocab_size", f.Metadata["tokenizer.ggml.tokens"].Len)
	i.layers = f.readLayers(arch)
	return i
}

// PerBlock is a number for each block of a model. One element stands for all blocks.
type PerBlock []uint64

// At returns the number for a block, or 0 if there is none.
func (p PerBlock) At(block int) uint64 {
	switch {
	case len(p) == 1:
		return p[0]
	case block >= 0 && block < len(p):
		return p[block]
	default:
		return 0
	}
}

func (f *File) text(key string) string {
	s, _ := f.Metadata[key].Text()
	return s
}

func (f *File) uint(key string) uint64 { return f.uintOr(key, 0) }

func (f *File) uintOr(key string, missing uint64) uint64 {
	if n, ok := f.Metadata[key].Uint(); ok {
		return n
	}
	return missing
}

func (f *File) perBlock(key string) PerBlock {
	list, _ := f.Metadata[key].Uints()
	return list
}

// FileType is the quantization that most of a file's tensors have: llama.cpp's numbering.
type FileType uint64

// FileTypeUnknown is the type of files that do not say.
const FileTypeUnknown FileType = 1024

// String returns the name that files of this type carry, such as Q4_K_M.
func (t FileType) String() string {
	if name, ok := fileTypes[t]; ok {
		return name
	}
	return fmt.Sprintf("file type %d", uint64(t))
}

var fileTypes = map[FileType]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1",
	10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
	19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
	26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M",
	32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
	FileTypeUnknown: "unknown",
}

// Interface guards
var _ fmt.Stringer = FileType(0)
