package local

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// files looks at what an engine needs before it can start, and remembers what it saw.
type files struct {
	mu      sync.Mutex // guards what follows
	checked time.Time
	seen    found
	failure *failure
	headers map[string]header
}

// found is what was seen.
type found struct {
	binary string
	model  gguf.Info
	bytes  uint64 // estimate of the memory it takes
}

// header is what was read of a file.
type header struct {
	id   fileID
	info gguf.Info
	err  error
}

// check returns what is there for c, or what is wrong. It looks again if the last look is older than age.
func (f *files) check(c Config, age time.Duration) (found, *failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.checked.IsZero() || time.Since(f.checked) >= age {
		f.seen, f.failure = f.look(c)
		f.checked = time.Now()
	}
	return f.seen, f.failure
}

// look looks at all files. mu is held.
func (f *files) look(c Config) (found, *failure) {
	if c.Command != (Command{}) {
		return c.Command.look()
	}
	model, err := f.header(c.ModelPath)
	if err != nil {
		return found{}, missing("the model file "+unusable(c.ModelPath, err), err)
	}
	seen := found{model: model}
	for _, path := range otherParts(c.ModelPath, model) {
		part, err := f.header(path)
		if err != nil {
			return seen, missing("the model file "+unusable(path, err), err)
		}
		model.WeightBytes += min(part.WeightBytes, math.MaxUint64-model.WeightBytes)
	}
	var projector *gguf.Info
	if c.MMProj != "" {
		header, err := f.header(c.MMProj)
		if err != nil {
			return seen, missing("the vision projector "+unusable(c.MMProj, err), err)
		}
		projector = &header
	}
	seen.bytes = c.memory(model, projector).Total()
	extra, missed := f.tuning(c)
	if missed != nil {
		return seen, missed
	}
	seen.bytes += min(extra, math.MaxUint64-seen.bytes)
	if seen.binary, err = FindServer(c.Binary); err != nil {
		return seen, missing(unfound(err), err)
	}
	return seen, nil
}

// tuning looks at the files besides the model, and returns the memory that they take. mu is held.
func (f *files) tuning(c Config) (bytes uint64, failure *failure) {
	named := c.Tuning.files()
	for _, path := range slices.Sorted(maps.Keys(named)) {
		if path == c.ChatTemplateFile {
			file, err := os.Open(path)
			if err != nil {
				return 0, missing(named[path]+" "+unusable(path, err), err)
			}
			_ = file.Close()
			continue
		}
		header, err := f.header(path)
		if err != nil {
			return 0, missing(named[path]+" "+unusable(path, err), err)
		}
		if path == c.ModelDraft {
			more := Config{NCtx: c.NCtx, NParallel: c.NParallel}.memory(header, nil).Total()
			bytes += min(more, math.MaxUint64-bytes)
		} else {
			bytes += header.WeightBytes
		}
	}
	return bytes, nil
}

func unfound(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return "llama-server is no program that may be run"
	}
	return "llama-server was not found"
}

// header reads the header of a file, or remembers it if the file is the same as before. mu is held.
func (f *files) header(path string) (gguf.Info, error) {
	id := identify(path)
	if known, ok := f.headers[path]; ok && known.id == id && id != (fileID{}) {
		return known.info, known.err
	}
	read := header{id: id}
	// Opening a pipe would wait for somebody to write.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return gguf.Info{}, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := gguf.Open(path)
	if err == nil {
		read.info = file.Info()
	}
	read.err = err
	// Whether a file may be read changes without the file.
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return gguf.Info{}, err
	}
	if f.headers == nil {
		f.headers = map[string]header{}
	}
	f.headers[path] = read
	return read.info, read.err
}

// otherParts returns the files that belong to a model of several.
func otherParts(path string, model gguf.Info) []string {
	base, isGGUF := strings.CutSuffix(path, ".gguf")
	place := part.FindStringIndex(base)
	if !isGGUF || place == nil {
		return nil
	}
	var paths []string
	for n := uint64(2); n <= min(model.SplitCount, maxParts); n++ {
		paths = append(paths, fmt.Sprintf("%s-%05d-of-%05d.gguf", base[:place[0]], n, model.SplitCount))
	}
	return paths
}

const maxParts = 1000

// part matches how the name of a model's part ends, before .gguf: its number, and how many there are.
var part = regexp.MustCompile(`-(\d{5})-of-(\d{5})$`)

// splitName takes the name of a GGUF file apart. count is 0 unless the file is one part of a model.
func splitName(path string) (base string, number, count int) {
	base = strings.TrimSuffix(path, ".gguf")
	place := part.FindStringSubmatchIndex(base)
	if place == nil {
		return base, 0, 0
	}
	number, _ = strconv.Atoi(base[place[2]:place[3]])
	count, _ = strconv.Atoi(base[place[4]:place[5]])
	return base[:place[0]], number, count
}

// parts returns the files that a model consists of, as its first file's name says.
func parts(path string) []string {
	base, number, count := splitName(path)
	if number != 1 || count > maxParts {
		return []string{path}
	}
	paths := make([]string, count)
	for i := range paths {
		paths[i] = fmt.Sprintf("%s-%05d-of-%05d.gguf", base, i+1, count)
	}
	return paths
}

func unusable(path string, err error) string {
	name := filepath.Base(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return name + " is missing"
	case errors.Is(err, os.ErrPermission):
		return name + " may not be read"
	case errors.Is(err, gguf.ErrTruncated):
		return name + " is incomplete; was its download interrupted?"
	default:
		return name + " is no usable GGUF file"
	}
}

// ModelInfo implements llmgateway.Modeler. Of a model whose file cannot be read, only the configuration is known; and what
// further flags decide is not known at all.
func (e *Engine) ModelInfo() llmgateway.ModelInfo {
	seen, _ := e.files.check(e.key.Config, e.timing.recheck)
	c := e.key.Config
	media := c.media()
	info := llmgateway.ModelInfo{
		Name:    c.Name(),
		Context: c.context(seen.model),
		Vision:  media,
		Audio:   media,
		Tools: strings.Contains(seen.model.ChatTemplate, "tools") || seen.model.Architecture == "" ||
			c.hasFlag("--chat-template", "--chat-template-file"),
		Embeddings: c.Embeddings != "" || c.hasFlag("--embedding", "--embeddings"),
		Prefill:    c.Command == (Command{}) && !c.hasFlag("--no-prefill-assistant"),
	}
	if c.hasFlag("-c", "--ctx-size") {
		info.Context = 0
	}
	return info
}

// media reports whether requests may contain images or sound.
func (c Config) media() bool {
	return c.MMProj != "" || c.Command != (Command{}) || c.hasFlag("--mmproj", "-mm", "--mmproj-url", "-mmu")
}

// context returns what one request may hold. A model is not asked for more than it was trained for, or is scaled to.
func (c Config) context(model gguf.Info) int {
	longest := c.longest(model)
	if c.NCtx == 0 || longest != 0 && longest < c.NCtx {
		return longest
	}
	return c.NCtx
}

const maxContext = 1 << 30
