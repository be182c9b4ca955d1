package gguf

import (
	"bytes"
	"io"
	"math"
	"testing"
)

// plain is a transformer with a megabyte of F16 weights in each of its four blocks.
func plain(t testing.TB, set func(w *Writer)) Info {
	t.Helper()
	w := new(Writer)
	w.Set("general.architecture", "llama")
	w.Set("llama.context_length", uint32(8192))
	w.Set("llama.embedding_length", uint32(512))
	w.Set("llama.block_count", uint32(4))
	w.Set("llama.feed_forward_length", uint32(1024))
	w.Set("llama.attention.head_count", uint32(8))
	w.Set("llama.attention.head_count_kv", uint32(2))
	if set != nil {
		set(w)
	}
	w.AddFrom("token_embd.weight", F16, []uint64{512, 1024}, zeros{})
	w.AddFrom("output.weight", F16, []uint64{512, 1024}, zeros{})
	for _, name := range []string{"blk.0.ffn_up", "blk.1.ffn_up", "blk.2.ffn_up", "blk.3.ffn_up"} {
		w.AddFrom(name+".weight", F16, []uint64{512, 1024}, zeros{})
	}
	var file bytes.Buffer
	if err := w.Write(&file); err != nil {
		t.Fatal(err)
	}
	f, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	return f.Info()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestMemoryOfTheCacheFollowsHeadsAndTypes(t *testing.T) {
	const token = 4 * 2 * 2 * 64 // of four blocks: keys and values of two heads
	for _, test := range []struct {
		name string
		load Load
		want uint64
	}{
		{"half precision", Load{Context: 1024}, 1024 * token * 2},
		{"rounded to 256 tokens for each slot", Load{Context: 1000, Slots: 3}, 3 * 1024 * token * 2},
		{"keys and values of other types", Load{Context: 1024, TypeK: "q8_0", TypeV: "q4_0"}, 1024 * token / 2 * (34 + 18) / 32},
		{"half of the blocks on a GPU", Load{Context: 1024, GPULayers: 2}, 1024 * token},
		{"all blocks on a GPU", Load{Context: 1024, GPULayers: 99}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := plain(t, nil).Memory(test.load).KV; got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestMemoryOfAWindowIsSmall(t *testing.T) {
	const half, token = 2, 2 * 2 * 64
	gemma := func(w *Writer) {
		w.keys = nil
		w.Set("general.architecture", "gemma3")
		w.Set("gemma3.embedding_length", uint32(512))
		w.Set("gemma3.block_count", uint32(6)) // five with a window, and one without
		w.Set("gemma3.attention.head_count", uint32(8))
		w.Set("gemma3.attention.head_count_kv", uint32(2))
		w.Set("gemma3.attention.sliding_window", uint32(512))
	}
	got := plain(t, gemma).Memory(Load{Context: 8192, Checkpoints: 3})
	if want := uint64((8192 + 5*(512+512)) * token * half); got.KV != want {
		t.Errorf("cache: got %d, want %d", got.KV, want)
	}
	if want := uint64(3 * 5 * 512 * token * half); got.Checkpoints != want {
		t.Errorf("checkpoints: got %d, want %d", got.Checkpoints, want)
	}
	full := plain(t, gemma).Memory(Load{Context: 8192, Checkpoints: 3, FullWindow: true})
	if want := uint64(6 * 8192 * token * half); full.KV != want || full.Checkpoints != 0 {
		t.Errorf("full window: got %d and %d, want %d", full.KV, full.Checkpoints, want)
	}
}

func TestMemoryCountsCopiesForTheCPU(t *testing.T) {
	const matrix = 1 << 20
	i := plain(t, nil)
	for _, test := range []struct {
		name            string
		load            Load
		weights, copies uint64
	}{
		{"no copies of this type", Load{CPU: AVX2}, 6 * matrix, 0},
		{"all but the embedding", Load{CPU: AMX}, 6 * matrix, 5 * matrix},
		{"not mapped", Load{CPU: AMX, NoMmap: true}, matrix, 5 * matrix},
		{"partly on a GPU", Load{CPU: AMX, GPULayers: 3}, 3 * matrix, 2 * matrix},
		{"on a GPU", Load{CPU: AMX, GPULayers: 5}, matrix, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := i.Memory(test.load)
			if m.Weights != test.weights || m.Copies != test.copies {
				t.Errorf("got %d and %d, want %d and %d", m.Weights, m.Copies, test.weights, test.copies)
			}
		})
	}
	t.Run("in three files", func(t *testing.T) {
		i := i
		i.WeightBytes *= 3
		if m := i.Memory(Load{CPU: AMX}); m.Weights != 18*matrix || m.Copies < 15*matrix || m.Copies > 21*matrix {
			t.Errorf("got %d and %d", m.Weights, m.Copies)
		}
	})
}

func TestMemoryOfAbsurdHeadersIsLarge(t *testing.T) {
	i := plain(t, func(w *Writer) {
		w.keys = nil
		w.Set("general.architecture", "llama")
		for _, key := range []string{"embedding_length", "block_count", "feed_forward_length", "attention.head_count", "attention.key_length", "vocab_size"} {
			w.Set("llama."+key, uint64(math.MaxUint64))
		}
	})
	m := i.Memory(Load{Context: math.MaxInt, Slots: math.MaxInt, Batch: math.MaxInt, UBatch: math.MaxInt, Projector: &i})
	for _, n := range []uint64{m.KV, m.Compute, m.Total()} {
		if n != math.MaxUint64 {
			t.Errorf("got %d", n)
		}
	}
}

func TestWriterStreamsTensors(t *testing.T) {
	w := new(Writer)
	w.AddFrom("a", F16, []uint64{5}, bytes.NewReader([]byte("0123456789 and more")))
	w.Add("b", F16, []uint64{1}, []byte("ab"))
	var file bytes.Buffer
	if err := w.Write(&file); err != nil {
		t.Fatal(err)
	}
	data := file.Bytes()
	f, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range []string{"0123456789", "ab"} {
		begin := f.DataOffset + f.Tensors[at].Offset
		if got := string(data[begin:][:len(want)]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}

	short := new(Writer)
	short.AddFrom("a", F16, []uint64{5}, bytes.NewReader([]byte("012")))
	if err := short.Write(io.Discard); err == nil {
		t.Error("a tensor with too few bytes was written")
	}
}
