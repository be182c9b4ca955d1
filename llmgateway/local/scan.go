package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// Bounds on what is looked at in a folder, far above what people keep in one.
const (
	maxNames = 20000 // in the folder and those in it
	maxFiles = 1000  // GGUF files
)

// scanner looks at the GGUF files in a folder and in the folders in it, and remembers what it read of them. It is not for
// concurrent use.
type scanner struct {
	dir string
	// settle is how long a file must have been left alone before it is read. One whose room was taken beforehand has its
	// full length long before it is whole.
	settle time.Duration

	known map[string]weights // by path
	names int                // that may still be read in this scan
}

// weights is what is known of a GGUF file.
type weights struct {
	path string
	id   fileID
	err  error // why it cannot be used

	kind     string // llama.cpp's word for what it is: model, mmproj, adapter and so on
	parts    uint64 // that the model is split into, as the header says
	width    uint64 // the model's embedding length
	widths   map[uint64]bool
	fileType gguf.FileType
}

// Kinds of files.
const (
	kindModel     = "model"
	kindProjector = "mmproj"
)

var (
	errWriting  = errors.New("still being written")
	errTooMuch  = fmt.Errorf("there are more than %d files, or %d GGUF files; some are not looked at", maxNames, maxFiles)
	errNoFolder = fmt.Errorf("looking at a folder: %w", syscall.ENOTDIR)
)

// scan returns all files, ordered by path, those of the folder itself first. Only what is known to be gone goes away: what
// cannot be looked at any more, such as a network drive that hangs, is taken to be as it was. An error concerns the folder
// and says why there may be more than what is returned.
func (s *scanner) scan(now time.Time) ([]weights, error) {
	s.names = maxNames
	paths, err := s.list()
	if len(paths) > maxFiles {
		paths, err = paths[:maxFiles], errTooMuch
	}
	seen := make(map[string]weights, len(paths))
	files := make([]weights, 0, len(paths))
	for _, path := range paths {
		if w, ok := s.look(path, now); ok {
			seen[path] = w
			files = append(files, w)
		}
	}
	s.known = seen
	return files, err
}

// list returns the paths of what may be GGUF files.
func (s *scanner) list() ([]string, error) {
	paths, folders, err := s.listFolder(s.dir)
	for _, folder := range folders {
		inner, _, innerErr := s.listFolder(folder)
		paths = append(paths, inner...)
		if err == nil && !vanished(innerErr) {
			err = innerErr
		}
	}
	return paths, err
}

// listFolder returns the paths of what may be GGUF files in one folder, and of the folders in it, both ordered. Hidden
// ones are nobody's business.
func (s *scanner) listFolder(folder string) (paths, folders []string, err error) {
	entries, err := s.read(folder)
	if err != nil && !vanished(err) && !errors.Is(err, errTooMuch) {
		return s.remembered(folder), nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(folder, name)
		named := strings.HasSuffix(name, ".gguf")
		switch {
		case strings.HasPrefix(name, "."):
		case isFolder(path, entry, named):
			folders = append(folders, path)
		case named:
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	slices.Sort(folders)
	return paths, folders, err
}

// isFolder reports whether an entry is a folder or a link to one. If the link cannot be followed now, named tells that it
// looks like a link to a file.
func isFolder(path string, entry fs.DirEntry, named bool) bool {
	if entry.Type()&fs.ModeSymlink == 0 {
		return entry.IsDir()
	}
	target, err := os.Stat(path)
	if err != nil {
		return !named && !vanished(err)
	}
	return target.IsDir()
}

// read reads the entries of a folder, in no order.
func (s *scanner) read(folder string) ([]fs.DirEntry, error) {
	// A pipe of that name would make Open wait for its other end.
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		if err == nil {
			err = errNoFolder
		}
		return nil, err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(s.names + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > s.names {
		entries = entries[:s.names]
		s.names = 0
		return entries, errTooMuch
	}
	s.names -= len(entries)
	return entries, nil
}

// remembered returns the paths of the files that were in a folder, or in a folder in it, when it was last looked at.
func (s *scanner) remembered(folder string) (paths []string) {
	for path := range s.known {
		if strings.HasPrefix(path, folder+string(filepath.Separator)) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// look returns what is known of a file. It reads the file if it is new or has changed. ok is false if there is no file.
func (s *scanner) look(path string, now time.Time) (w weights, ok bool) {
	known, isKnown := s.known[path]
	info, err := os.Stat(path)
	switch {
	case vanished(err) || err == nil && !info.Mode().IsRegular():
		return weights{}, false
	case err != nil:
		if isKnown {
			return known, true
		}
		return weights{path: path, err: err}, true
	}
	id := newFileID(info)
	if isKnown && known.id == id {
		return known, true
	}
	if age := now.Sub(id.modified); age >= 0 && age < s.settle {
		// The servers of a file that is being replaced go on until the new one is there.
		if isKnown && known.err == nil {
			return known, true
		}
		return weights{path: path, err: errWriting}, true
	}
	w = readWeights(path)
	if w.err == nil || errors.Is(w.err, gguf.ErrTruncated) || errors.Is(w.err, gguf.ErrNotGGUF) || errors.Is(w.err, gguf.ErrMalformed) {
		w.id = id // other errors may pass although the file stays the same
	}
	return w, true
}

// vanished reports whether err means that there is no such file or folder any more.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// readWeights reads the header of a file.
func readWeights(path string) weights {
	w := weights{path: path}
	file, err := gguf.Open(path)
	if err != nil {
		w.err = err
		return w
	}
	info := file.Info()
	w.kind, w.parts, w.width, w.fileType = kindModel, info.SplitCount, info.EmbeddingLength, info.FileType
	if kind, ok := file.Metadata["general.type"].Text(); ok {
		w.kind = kind
	}
	if info.Architecture == "clip" {
		w.kind = kindProjector
		w.widths = projectorWidths(file)
	}
	return w
}

// projectorWidths returns what a projector may lead to. llama.cpp knows for each kind of projector which of its tensors
// tells; it is one of those that are no part of an encoder.
func projectorWidths(file *gguf.File) map[uint64]bool {
	widths := make(map[uint64]bool)
	for _, key := range []string{"clip.vision.projection_dim", "clip.audio.projection_dim"} {
		if n, ok := file.Metadata[key].Uint(); ok {
			widths[n] = true
		}
	}
	for _, t := range file.Tensors {
		if strings.HasPrefix(t.Name, "v.") || strings.HasPrefix(t.Name, "a.") {
			continue
		}
		for _, n := range t.Dims {
			widths[n] = true
		}
	}
	return widths
}

// leadsTo reports whether a projector may belong to a model, as far as their headers tell.
func (w weights) leadsTo(model weights) bool {
	return len(w.widths) == 0 || model.width == 0 || w.widths[model.width]
}
