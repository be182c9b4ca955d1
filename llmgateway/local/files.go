package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// files looks at what an engine needs before it can start, and remembers what it saw.
type files struct {
	mu      sync.Mutex // guards what follows
	checked time.Time
	seen    found
	failure *failure

	headerOf fileID // the file whose header is in model
	model    llmgateway.ModelInfo
}

// found is what was seen.
type found struct {
	binary string
	model  llmgateway.ModelInfo
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

func (f *files) look(c Config) (found, *failure) {
	binary, err := FindServer(c.Binary)
	if err != nil {
		return found{}, missing("llama-server was not found", err)
	}
	if c.MMProj != "" {
		if _, err := readHeader(c.MMProj); err != nil {
			return found{}, missing("the vision projector "+unusable(c.MMProj, err), err)
		}
	}
	id := identify(c.ModelPath)
	if id == (fileID{}) || id != f.headerOf {
		model, err := readHeader(c.ModelPath)
		if err != nil {
			f.headerOf = fileID{}
			return found{}, missing("the model file "+unusable(c.ModelPath, err), err)
		}
		f.headerOf, f.model = id, model
	}
	return found{binary: binary, model: f.model}, nil
}

func missing(detail string, err error) *failure {
	return &failure{detail: detail, err: err, files: true}
}

func unusable(path string, err error) string {
	name := filepath.Base(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return name + " is missing"
	case errors.Is(err, os.ErrPermission):
		return name + " may not be read"
	default:
		return name + " is no usable GGUF file"
	}
}

func readHeader(path string) (llmgateway.ModelInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return llmgateway.ModelInfo{}, err
	}
	defer file.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(file, magic); err != nil {
		return llmgateway.ModelInfo{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if string(magic) != "GGUF" {
		return llmgateway.ModelInfo{}, fmt.Errorf("%s does not begin like a GGUF file", path)
	}
	return llmgateway.ModelInfo{}, nil
}
