package gguf

import "slices"

// CPU is what a llama.cpp takes the CPU for that chooses among variants when it starts. It rearranges matrices of some
// types for it, and the copies take memory beside the mapped file.
type CPU uint8

const (
	// PlainCPU is any CPU when nothing is rearranged (--no-repack).
	PlainCPU CPU = iota
	// AVX2 is what x86-64 CPUs since 2013 have.
	AVX2
	// AVX512 is what many servers since 2017 have.
	AVX512
	// AMX is what Intel's servers since 2023 have: units for whole matrices.
	AMX
	// DotProduct is what ARM CPUs since 2018 have.
	DotProduct
)

// amx has the bytes of a block before and after, for matrices that AMX multiplies.
var amx = map[TensorType][2]uint64{
	F16:  {1, 1},
	Q4_0: {1, 1},
	3:    {1, 1},     // Q4_1
	Q8_0: {34, 38},   // with its sums
	Q4_K: {144, 148}, // with unpacked scales
	13:   {176, 180}, // Q5_K, likewise
	Q6_K: {1, 1},
	23:   {136, 138}, // IQ4_XS, likewise
}

// interleaved are the types of which the rows are interleaved, with the CPU that it takes at least.
var interleaved = map[TensorType][]CPU{
	Q4_0:  {AVX2, AVX512, AMX, DotProduct},
	Q4_K:  {AVX2, AVX512, AMX, DotProduct},
	20:    {AVX2, AVX512, AMX, DotProduct}, // IQ4_NL
	MXFP4: {AVX2, AVX512, AMX, DotProduct},
	10:    {AVX512, AMX}, // Q2_K
	Q8_0:  {DotProduct},
	13:    {DotProduct}, // Q5_K
	Q6_K:  {DotProduct},
}

// copyBytes returns the size of the copy of a matrix, or 0 if there is none.
func (c CPU) copyBytes(t TensorType, bytes uint64, odd bool) uint64 {
	if growth, ok := amx[t]; ok && c == AMX && !odd {
		return product(bytes/growth[0], growth[1])
	}
	if slices.Contains(interleaved[t], c) {
		return bytes
	}
	return 0
}

// copies returns the size of all copies, and of what they are copies of and nothing else uses.
func (i Info) copies(l Load) (copies, copied uint64) {
	if l.CPU == PlainCPU {
		return 0, 0
	}
	if i.layers.fileBytes == 0 {
		// The first of several files may have no tensors. Their types are not known.
		return i.hostShare(i.WeightBytes, l), 0
	}
	for odd, matrices := range map[bool]map[TensorType]uint64{false: i.layers.matrices, true: i.layers.odd} {
		for t, bytes := range matrices {
			bytes = i.ofAllParts(bytes)
			if n := l.CPU.copyBytes(t, bytes, odd); n > 0 {
				copies, copied = sum(copies, n), sum(copied, bytes)
			}
		}
	}
	if i.layers.tied {
		copies = sum(copies, l.CPU.copyBytes(i.layers.embeddingType, i.layers.embeddingBytes, false))
	}
	return i.hostShare(copies, l), i.hostShare(copied, l)
}

// ofAllParts scales what this file has to all files of the model.
func (i Info) ofAllParts(bytes uint64) uint64 {
	if i.WeightBytes <= i.layers.fileBytes {
		return bytes
	}
	return product(bytes, i.WeightBytes/i.layers.fileBytes+1)
}
