// Package inspect says what model files are, for people and for programs that ask on the command line.
//
// Files are read as they are, whoever made them: what cannot be read has a problem to show, and does no harm.
package inspect

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

// Model is what the header of a model's file says. Texts in it come from the file as they are: print them with Write,
// or make them harmless first.
type Model struct {
	// Path is the file, the first one of a split model.
	Path string `json:"path"`
	// Name is what the gateway calls the model: the file's name without what does not belong to it.
	Name string `json:"name"`
	// Kind is "model", or what the file is instead, such as "projector" or "adapter".
	Kind string `json:"kind,omitempty"`
	// Problem says why the file cannot be used. Then little else is known.
	Problem string `json:"problem,omitempty"`

	// Title is the name that the file gives itself.
	Title        string `json:"title,omitempty"`
	Architecture string `json:"architecture,omitempty"`
	Quantization string `json:"quantization,omitempty"`
	Parameters   uint64 `json:"parameters,omitempty"`

	// SizeBytes is the size of all files together, Files how many they are.
	SizeBytes int64 `json:"size_bytes"`
	Files     int   `json:"files,omitempty"`

	// Context is how many tokens the model was trained for.
	Context       uint64   `json:"context,omitempty"`
	Layers        uint64   `json:"layers,omitempty"`
	Heads         []uint64 `json:"heads,omitempty"`
	HeadsKV       []uint64 `json:"heads_kv,omitempty"`
	Embedding     uint64   `json:"embedding,omitempty"`
	Experts       uint64   `json:"experts,omitempty"`
	SlidingWindow uint64   `json:"sliding_window,omitempty"`

	Tokenizer  string `json:"tokenizer,omitempty"`
	Vocabulary uint64 `json:"vocabulary,omitempty"`

	// ChatTemplate is true if the model has a chat template, Tools if the template knows tools.
	ChatTemplate bool `json:"chat_template"`
	Tools        bool `json:"tools"`

	// Projector is the file that lets the model see images, if one was found or named.
	Projector string `json:"projector,omitempty"`
	Vision    bool   `json:"vision"`

	// Tensors counts the weights by how they are stored, those that take most first.
	Tensors []Tensors `json:"tensors,omitempty"`
	// Memory is what the model takes when it is loaded.
	Memory *Memory `json:"memory,omitempty"`

	info      gguf.Info
	projector *Model
}

// Tensors are a file's tensors of one type.
type Tensors struct {
	Type      string `json:"type"`
	Count     int    `json:"count"`
	SizeBytes uint64 `json:"size_bytes"`
}

// Memory is an estimate in bytes, for a context of NCtx tokens in each of NParallel slots.
type Memory struct {
	NCtx      int `json:"n_ctx"`
	NParallel int `json:"n_parallel"`

	Total       uint64 `json:"total"`
	Weights     uint64 `json:"weights"`
	Copies      uint64 `json:"copies"`
	KV          uint64 `json:"kv"`
	Checkpoints uint64 `json:"checkpoints"`
	Compute     uint64 `json:"compute"`
	Output      uint64 `json:"output"`
	Projector   uint64 `json:"projector"`
	PromptCache uint64 `json:"prompt_cache"`
	Overhead    uint64 `json:"overhead"`
}

// Open reads the header of a file, and of the model's other files if it is split. It always returns a Model; one that
// cannot be used has a Problem, and the error is what it comes from.
func Open(path string) (*Model, error) {
	m := &Model{Path: path, Name: local.Config{ModelPath: path}.Name()}
	file, err := open(path)
	if err != nil {
		m.Problem = problem(err)
		if stat, err := os.Stat(path); err == nil {
			m.SizeBytes = stat.Size()
		}
		return m, err
	}
	m.read(file)
	if err := m.addParts(file); err != nil {
		m.Problem = problem(err)
		return m, err
	}
	return m, nil
}

// open opens what is a file: reading from a pipe or a device may never end.
func open(path string) (*gguf.File, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !stat.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %s: %w", path, errNoFile)
	}
	return gguf.Open(path)
}

// ErrLaterPart means that a file is not the first one of a split model.
var ErrLaterPart = errors.New("part of a split model")

var errNoFile = errors.New("it is not a file")

// read takes over what the header says.
func (m *Model) read(file *gguf.File) {
	i := file.Info()
	m.info = i
	m.Title, m.Architecture = i.Name, i.Architecture
	m.Context, m.Layers, m.Embedding = i.ContextLength, i.BlockCount, i.EmbeddingLength
	m.Heads, m.HeadsKV = i.HeadCount, i.HeadCountKV
	m.Experts, m.SlidingWindow = i.ExpertCount, i.SlidingWindow
	m.Vocabulary = i.VocabSize
	m.ChatTemplate = i.ChatTemplate != ""
	m.Tools = strings.Contains(i.ChatTemplate, "tools")
	m.Tokenizer, _ = file.Metadata["tokenizer.ggml.model"].Text()
	if pre, ok := file.Metadata["tokenizer.ggml.pre"].Text(); ok && m.Tokenizer != "" {
		m.Tokenizer += " (" + pre + ")"
	}
	m.Kind, _ = file.Metadata["general.type"].Text()
	switch {
	case m.Kind == "mmproj" || m.Architecture == "clip":
		m.Kind = kindProjector
	case m.Kind == "":
		m.Kind = kindModel
	}
	if i.FileType != gguf.FileTypeUnknown {
		m.Quantization = i.FileType.String()
	}
	m.count(file)
}

const (
	kindModel     = "model"
	kindProjector = "projector"
)

// count adds the size and the tensors of one file.
func (m *Model) count(file *gguf.File) {
	m.Files++
	for _, t := range file.Tensors {
		parameters := uint64(1)
		for _, dim := range t.Dims {
			parameters = times(parameters, dim)
		}
		m.Parameters = plus(m.Parameters, parameters)
		at := slices.IndexFunc(m.Tensors, func(have Tensors) bool { return have.Type == t.Type.String() })
		if at < 0 {
			at = len(m.Tensors)
			m.Tensors = append(m.Tensors, Tensors{Type: t.Type.String()})
		}
		m.Tensors[at].Count++
		m.Tensors[at].SizeBytes = plus(m.Tensors[at].SizeBytes, t.SizeBytes())
	}
	slices.SortStableFunc(m.Tensors, func(a, b Tensors) int { return cmp.Compare(b.SizeBytes, a.SizeBytes) })
	if m.Quantization == "" && len(m.Tensors) > 0 {
		m.Quantization = m.Tensors[0].Type
	}
}

// times and plus stop at the largest number: a header may claim any.
func times(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	if high != 0 {
		return 1<<64 - 1
	}
	return low
}

func plus(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return 1<<64 - 1
	}
	return sum
}

// addParts reads the other files of a split model.
func (m *Model) addParts(file *gguf.File) error {
	stat, err := os.Stat(m.Path)
	if err != nil {
		return err
	}
	m.SizeBytes = stat.Size()
	if m.info.SplitNo > 0 {
		return fmt.Errorf("%w: %d of %d; name the first", ErrLaterPart, m.info.SplitNo+1, m.info.SplitCount)
	}
	for _, path := range local.Parts(m.Path)[1:] {
		part, err := open(path)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		if stat, err := os.Stat(path); err == nil {
			m.SizeBytes += stat.Size()
		}
		m.count(part)
		m.info.WeightBytes = plus(m.info.WeightBytes, part.TensorBytes())
	}
	return nil
}

// See sets the projector with which the model is loaded.
func (m *Model) See(projector *Model) {
	m.projector = projector
	m.Projector, m.Vision = projector.Path, projector.Problem == ""
}

// Estimate sets Memory. A context of 0, or of more than the model was trained for, is as much as it was trained for. A
// model with a problem, and what is no model, gets no estimate. The projector is the one that the model sees with.
func (m *Model) Estimate(load gguf.Load) {
	if m.Problem != "" || m.Kind != kindModel {
		return
	}
	trained := int(min(m.Context, maxContext))
	if load.Context <= 0 || trained != 0 && trained < load.Context {
		load.Context = trained
	}
	load.Slots = max(load.Slots, 1)
	load.Projector = nil
	if m.Vision {
		load.Projector = &m.projector.info
	}
	e := m.info.Memory(load)
	m.Memory = &Memory{
		NCtx: load.Context, NParallel: load.Slots, Total: e.Total(),
		Weights: e.Weights, Copies: e.Copies, KV: e.KV, Checkpoints: e.Checkpoints, Compute: e.Compute, Output: e.Output,
		Projector: e.Projector, PromptCache: e.PromptCache, Overhead: e.Overhead,
	}
}

const maxContext = 1 << 30

// Unreadable is the problem of a file that another user may read, or nobody.
const Unreadable = "may not be read"

// problem says in short what is wrong with a file.
func problem(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case errors.Is(err, fs.ErrPermission):
		return Unreadable
	case errors.Is(err, gguf.ErrTruncated):
		return "incomplete; was its download interrupted?"
	case errors.Is(err, gguf.ErrNotGGUF):
		return "not a GGUF file"
	case errors.Is(err, gguf.ErrVersion), errors.Is(err, gguf.ErrBigEndian):
		return "GGUF of a version that is not supported"
	case errors.Is(err, gguf.ErrMalformed):
		return "damaged: its header contradicts itself"
	default:
		return err.Error()
	}
}
