package gguf

import (
	"errors"
	"fmt"
	"math/bits"
)

// Tensor is what the header says about one tensor.
type Tensor struct {
	Name string

	Type TensorType

	// Dims are its extents, the innermost first: a row of a matrix has Dims[0] numbers.
	Dims []uint64

	// Offset is where it begins, counted from File.DataOffset.
	Offset uint64

	bytes uint64
}

// SizeBytes returns how many bytes of the file the tensor takes.
func (t Tensor) SizeBytes() uint64 { return t.bytes }

// size computes SizeBytes and says what is wrong with a tensor that cannot be.
func (t Tensor) size() (uint64, error) {
	layout, ok := layouts[t.Type]
	if !ok {
		return 0, fmt.Errorf("unknown type %d", uint32(t.Type))
	}
	elements := uint64(1)
	for _, dim := range t.Dims {
		high, low := bits.Mul64(elements, dim)
		if high != 0 || low > maxTensorBytes {
			return 0, fmt.Errorf("its shape %v is too large", t.Dims)
		}
		elements = low
	}
	row := uint64(1)
	if len(t.Dims) > 0 {
		row = t.Dims[0]
	}
	if row%layout.elements != 0 {
		return 0, fmt.Errorf("rows of %d are no multiple of %s's blocks of %d", row, t.Type, layout.elements)
	}
	size := elements / layout.elements * layout.bytes // below 2^50 * 292, which fits
	if size > maxTensorBytes {
		return 0, errors.New("it is too large")
	}
	return size, nil
}

// TensorType is how a tensor's numbers are stored: ggml's numbering.
type TensorType uint32

// The types that Writer's callers need by name.
const (
	F32   TensorType = 0
	F16   TensorType = 1
	Q4_0  TensorType = 2
	Q8_0  TensorType = 8
	Q4_K  TensorType = 12
	Q6_K  TensorType = 14
	MXFP4 TensorType = 39
)

// String returns ggml's name of the type, in capitals as llama.cpp's documentation has it.
func (t TensorType) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// layouts says how many numbers are stored together, and in how many bytes. llama.cpp has it in ggml-common.h, as structs.
var layouts = map[TensorType]struct {
	name            string
	elements, bytes uint64
}{
	F32:   {"F32", 1, 4},
	F16:   {"F16", 1, 2},
	Q4_0:  {"Q4_0", 32, 18},
	3:     {"Q4_1", 32, 20},
	6:     {"Q5_0", 32, 22},
	7:     {"Q5_1", 32, 24},
	Q8_0:  {"Q8_0", 32, 34},
	9:     {"Q8_1", 32, 36},
	10:    {"Q2_K", 256, 84},
	11:    {"Q3_K", 256, 110},
	Q4_K:  {"Q4_K", 256, 144},
	13:    {"Q5_K", 256, 176},
	Q6_K:  {"Q6_K", 256, 210},
	15:    {"Q8_K", 256, 292},
	16:    {"IQ2_XXS", 256, 66},
	17:    {"IQ2_XS", 256, 74},
	18:    {"IQ3_XXS", 256, 98},
	19:    {"IQ1_S", 256, 50},
	20:    {"IQ4_NL", 32, 18},
	21:    {"IQ3_S", 256, 110},
	22:    {"IQ2_S", 256, 82},
	23:    {"IQ4_XS", 256, 136},
	24:    {"I8", 1, 1},
	25:    {"I16", 1, 2},
	26:    {"I32", 1, 4},
	27:    {"I64", 1, 8},
	28:    {"F64", 1, 8},
	29:    {"IQ1_M", 256, 56},
	30:    {"BF16", 1, 2},
	34:    {"TQ1_0", 256, 54},
	35:    {"TQ2_0", 256, 66},
	MXFP4: {"MXFP4", 32, 17},
	40:    {"NVFP4", 64, 36},
	41:    {"Q1_0", 128, 18},
	42:    {"Q2_0", 64, 18},
}

// Interface guards
var _ fmt.Stringer = TensorType(0)
