package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sample is a small file with every kind of value and two tensors.
func sample(t testing.TB) []byte {
	t.Helper()
	w := new(Writer)
	w.Set("general.architecture", "llama")
	w.Set("general.name", "sample")
	w.Set("general.file_type", uint32(15))
	w.Set("llama.context_length", uint32(4096))
	w.Set("llama.block_count", uint64(2))
	w.Set("llama.embedding_length", int32(64))
	w.Set("llama.attention.head_count", uint32(4))
	w.Set("llama.attention.head_count_kv", []int32{4, 2})
	w.Set("llama.rope.freq_base", float32(10000))
	w.Set("tokenizer.ggml.add_bos_token", true)
	w.Set("tokenizer.ggml.add_eos_token", false)
	w.Set("tokenizer.ggml.tokens", slices.Repeat([]string{"word"}, 2000))
	w.Set("tokenizer.ggml.scores", slices.Repeat([]float32{-1}, 2000))
	w.Set("tokenizer.ggml.special", []string{"<s>", ""})
	w.Set("tokenizer.chat_template", "{{ messages }}")
	w.Add("one.weight", F32, []uint64{3}, Single([]float32{1, 2, 3}))
	half, err := Half([]float32{0.5, -1, 0, 65504})
	if err != nil {
		t.Fatal(err)
	}
	w.Add("two.weight", F16, []uint64{2, 2}, half)
	var b bytes.Buffer
	if err := w.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadReturnsWhatWasWritten(t *testing.T) {
	data := sample(t)
	f, err := Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	got := f.Info()
	want := Info{
		Architecture: "llama", Name: "sample", FileType: 15, ContextLength: 4096, BlockCount: 2, EmbeddingLength: 64,
		KeyLength: 16, ValueLength: 16, VocabSize: 2000, ChatTemplate: "{{ messages }}",
	}
	if heads := got.HeadCountKV; heads.At(0) != 4 || heads.At(1) != 2 || heads.At(2) != 0 {
		t.Errorf("got %v heads of keys, want 4 and 2", heads)
	}
	if got.HeadCount.At(1) != 4 {
		t.Errorf("got %v heads, want 4 in each block", got.HeadCount)
	}
	got.HeadCount, got.HeadCountKV = nil, nil
	if !equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.FileType.String() != "Q4_K_M" {
		t.Errorf("got file type %s, want Q4_K_M", got.FileType)
	}
	if base, ok := f.Metadata["llama.rope.freq_base"].Float(); !ok || base != 10000 {
		t.Errorf("got base %v, %t", base, ok)
	}
	if bos, ok := f.Metadata["tokenizer.ggml.add_bos_token"].Bool(); !ok || !bos {
		t.Errorf("got add_bos_token %t, %t", bos, ok)
	}
	if special, ok := f.Metadata["tokenizer.ggml.special"].Texts(); !ok || !slices.Equal(special, []string{"<s>", ""}) {
		t.Errorf("got special tokens %q, %t", special, ok)
	}

	if len(f.Tensors) != 2 || f.Tensors[1].Name != "two.weight" || f.Tensors[1].Type != F16 || f.TensorBytes() != 20 {
		t.Fatalf("got tensors %+v", f.Tensors)
	}
	begin := f.DataOffset + f.Tensors[1].Offset
	weights := data[begin : begin+f.Tensors[1].SizeBytes()]
	if want := []byte{0, 0x38, 0, 0xbc, 0, 0, 0xff, 0x7b}; !bytes.Equal(weights, want) {
		t.Errorf("got weights %x, want %x", weights, want)
	}
	if f.SizeBytes() > uint64(len(data)) || f.DataOffset%f.Alignment != 0 {
		t.Errorf("data at %d, %d bytes needed, %d written", f.DataOffset, f.SizeBytes(), len(data))
	}
}

// equal compares what is comparable in two Infos.
func equal(a, b Info) bool {
	return a.Architecture == b.Architecture && a.Name == b.Name && a.FileType == b.FileType &&
		a.ContextLength == b.ContextLength && a.BlockCount == b.BlockCount && a.EmbeddingLength == b.EmbeddingLength &&
		a.KeyLength == b.KeyLength && a.ValueLength == b.ValueLength && a.VocabSize == b.VocabSize &&
		a.ChatTemplate == b.ChatTemplate && a.SplitCount == b.SplitCount
}

func TestReadStepsOverLongArrays(t *testing.T) {
	f, err := Read(bytes.NewReader(sample(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"tokenizer.ggml.tokens", "tokenizer.ggml.scores"} {
		v := f.Metadata[key]
		if v.Loaded() || v.Len != 2000 {
			t.Errorf("%s: loaded %t, length %d", key, v.Loaded(), v.Len)
		}
		if got := v.String(); got != "[2000 elements]" {
			t.Errorf("%s prints as %s", key, got)
		}
	}
}

// header builds the beginning of a file by hand, of numbers (as their own width) and strings (with their length).
func header(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			b = appendString(b, v)
		case []byte:
			b = append(b, v...)
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, v)
		case int:
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
	}
	return b
}

func TestReadRefusesWhatItCannotTrust(t *testing.T) {
	gguf := []byte("GGUF")
	v3 := header(gguf, uint32(3))
	u32, text, array := uint32(TypeUint32), uint32(TypeString), uint32(TypeArray)
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrNotGGUF},
		{"other format", []byte("PK\x03\x04 and so on"), ErrNotGGUF},
		{"a web page", []byte("<!DOCTYPE html>"), ErrNotGGUF},
		{"only the magic", gguf, ErrTruncated},
		{"version 0", header(gguf, uint32(0), 0, 0), ErrVersion},
		{"version 1", header(gguf, uint32(1), 0, 0), ErrVersion},
		{"version 4", header(gguf, uint32(4), 0, 0), ErrVersion},
		{"big endian", []byte("GGUF\x00\x00\x00\x03"), ErrBigEndian},
		{"no counts", v3, ErrTruncated},
		{"too many tensors", header(v3, maxTensors+1, 0), ErrMalformed},
		{"too many keys", header(v3, 0, maxKeys+1), ErrMalformed},
		{"keys missing", header(v3, 0, 1), ErrTruncated},
		{"empty key", header(v3, 0, 1, "", u32, uint32(1)), ErrMalformed},
		{"key too long", header(v3, 0, 1, maxNameBytes+1), ErrMalformed},
		{"same key twice", header(v3, 0, 2, "a", u32, uint32(1), "a", u32, uint32(1)), ErrMalformed},
		{"unknown type", header(v3, 0, 1, "a", uint32(13)), ErrMalformed},
		{"string too long", header(v3, 0, 1, "a", text, -1), ErrMalformed},
		{"string cut off", header(v3, 0, 1, "a", text, 1<<19, []byte("only this")), ErrTruncated},
		{"long string cut off", header(v3, 0, 1, "a", text, 1<<29, []byte("only this")), ErrTruncated},
		{"array too long", header(v3, 0, 1, "a", array, u32, -1), ErrMalformed},
		{"array cut off", header(v3, 0, 1, "a", array, u32, 1<<29), ErrTruncated},
		{"array of arrays", header(v3, 0, 1, "a", array, array, 1), ErrMalformed},
		{"array of nothing known", header(v3, 0, 1, "a", array, uint32(99), 1), ErrMalformed},
		{"odd alignment", header(v3, 0, 1, alignmentKey, u32, uint32(24)), ErrMalformed},
		{"no alignment", header(v3, 0, 1, alignmentKey, u32, uint32(0)), ErrMalformed},
		{"alignment as text", header(v3, 0, 1, alignmentKey, text, "32"), ErrMalformed},
		{"too many dimensions", header(v3, 1, 0, "t", uint32(5)), ErrMalformed},
		{"overflowing shape", header(v3, 1, 0, "t", uint32(2), 1<<40, 1<<40, uint32(F32), 0), ErrMalformed},
		{"unknown tensor type", header(v3, 1, 0, "t", uint32(1), 32, uint32(4), 0), ErrMalformed},
		{"broken block", header(v3, 1, 0, "t", uint32(1), 33, uint32(2), 0), ErrMalformed},
		{"unaligned tensor", header(v3, 1, 0, "t", uint32(1), 32, uint32(F32), 8), ErrMalformed},
		{"tensor far away", header(v3, 1, 0, "t", uint32(1), 32, uint32(F32), 1<<62), ErrMalformed},
		{
			"same tensor twice",
			header(v3, 2, 0, "t", uint32(1), 32, uint32(F32), 0, "t", uint32(1), 32, uint32(F32), 0), ErrMalformed,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Read(bytes.NewReader(tt.data)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReadTellsEveryTruncation(t *testing.T) {
	data := sample(t)
	f, err := Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for n := len(magic); n < int(f.DataOffset)-defaultAlignment; n += 101 {
		if _, err := Read(bytes.NewReader(data[:n])); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut after %d bytes: got %v, want %v", n, err, ErrTruncated)
		}
	}
}

func TestReadReportsErrorsOfItsSource(t *testing.T) {
	broken := errors.New("disk on fire")
	data := sample(t)
	for _, n := range []int{0, 2, 100} {
		_, err := Read(io.MultiReader(bytes.NewReader(data[:n]), &failing{broken}))
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: got %v, want %v", n, err, broken)
		}
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestOpenTellsAFileThatIsTooShort(t *testing.T) {
	data := sample(t)
	path := filepath.Join(t.TempDir(), "model.gguf")
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(data)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	write(data[:f.SizeBytes()])
	if _, err := Open(path); err != nil {
		t.Errorf("without the last padding: %v", err)
	}
	write(data[:f.SizeBytes()-1])
	if _, err := Open(path); !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want %v with the path", err, ErrTruncated)
	}
	if _, err := Open(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}

func TestWriterRefusesWhatReadersWould(t *testing.T) {
	tests := []struct {
		name string
		fill func(w *Writer)
	}{
		{"a type without a place in GGUF", func(w *Writer) { w.Set("a", 1) }},
		{"data shorter than the shape", func(w *Writer) { w.Add("t", F32, []uint64{2, 2}, make([]byte, 15)) }},
		{"an unknown tensor type", func(w *Writer) { w.Add("t", 4, []uint64{2}, nil) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := new(Writer)
			tt.fill(w)
			if err := w.Write(io.Discard); err == nil {
				t.Error("it was written")
			}
		})
	}
}

func TestHalfRefusesInexactNumbers(t *testing.T) {
	for _, n := range []float32{0.1, 2049, 65536, 1e-9, -1e9} {
		if _, err := Half([]float32{n}); err == nil {
			t.Errorf("%v was taken", n)
		}
	}
}

// Opening a pipe would wait for somebody to write to it.
func TestOpenTakesRegularFilesOnly(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotGGUF) {
		t.Errorf("a folder: got %v", err)
	}
	if _, err := Open(os.DevNull); !errors.Is(err, ErrNotGGUF) {
		t.Errorf("a device: got %v", err)
	}
}
