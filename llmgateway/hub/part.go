package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// part is a file that is not whole yet, and what is known of it: NAME.part with the bytes, NAME.part.json with which of
// them are there. It is locked against other processes that download the same file.
type part struct {
	path string
	file *os.File

	mu    sync.Mutex // guards state
	state state
}

// state is what NAME.part.json holds.
type state struct {
	// Identity is the checksum of the file that the bytes are from, or another mark of it.
	Identity  string `json:"identity"`
	SizeBytes int64  `json:"size_bytes"`
	// ChunkBytes is the length of all chunks but the last, Done how many bytes are there of each, from its begin.
	ChunkBytes int64   `json:"chunk_bytes"`
	Done       []int64 `json:"done"`
}

// lockTime is how often a lock is tried for that another process has.
const lockTime = 200 * time.Millisecond

// lockPart opens a part and locks it. While another process has it, it says so once and waits.
func lockPart(ctx context.Context, path string, say func(string, ...any)) (*part, error) {
	for said := false; ; {
		// Models are no secret: a gateway that runs as another user reads them.
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // see above
		if err != nil {
			return nil, err
		}
		locked, err := tryLock(f)
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if locked && isStill(f, path) {
			return &part{path: path, file: f}, nil
		}
		_ = f.Close()
		if locked {
			continue // whoever had it is done, and gave the file its name
		}
		if !said {
			say("another download of %s is under way; waiting for it", filepath.Base(path))
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockTime):
		}
	}
}

// isStill reports whether the open file still has its name.
func isStill(f *os.File, path string) bool {
	opened, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(opened, there)
}

// resume takes up what is there of a file, or begins anew. It reports what was there of another file.
func (p *part) resume(identity string, size, chunk int64) (changed bool, err error) {
	var s state
	data, err := os.ReadFile(p.statePath())
	known := err == nil && json.Unmarshal(data, &s) == nil && s.valid()
	if known && s.Identity == identity && s.SizeBytes == size {
		if stat, err := p.file.Stat(); err == nil && stat.Size() >= s.reach() {
			p.state = s
			return false, nil
		}
	}
	return known && s.Identity != identity && s.sum() > 0, p.begin(identity, size, chunk)
}

// begin forgets all bytes.
func (p *part) begin(identity string, size, chunk int64) error {
	chunk = max(chunk, (size+maxChunks-1)/maxChunks)
	p.mu.Lock()
	p.state = state{Identity: identity, SizeBytes: size, ChunkBytes: chunk, Done: make([]int64, (size+chunk-1)/chunk)}
	p.mu.Unlock()
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	return p.save()
}

// maxChunks bounds what is kept in memory for a file of any size.
const maxChunks = 4096

func (p *part) statePath() string { return p.path + ".json" }

func (s *state) valid() bool {
	if s.ChunkBytes <= 0 || s.SizeBytes < 0 || s.SizeBytes > maxFileBytes || int64(len(s.Done)) != (s.SizeBytes+s.ChunkBytes-1)/s.ChunkBytes {
		return false
	}
	for i, done := range s.Done {
		if begin, end := s.chunk(i); done < 0 || done > end-begin {
			return false
		}
	}
	return true
}

// chunk returns where a chunk begins and ends.
func (s *state) chunk(i int) (begin, end int64) {
	begin = int64(i) * s.ChunkBytes
	return begin, min(begin+s.ChunkBytes, s.SizeBytes)
}

// reach returns how long the file is that has the bytes which are there.
func (s *state) reach() int64 {
	for i, done := range slices.Backward(s.Done) {
		if done > 0 {
			begin, _ := s.chunk(i)
			return begin + done
		}
	}
	return 0
}

func (s *state) sum() int64 {
	var n int64
	for _, done := range s.Done {
		n += done
	}
	return n
}

// done returns how many bytes are there.
func (p *part) done() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.sum()
}

// missing returns the bytes of a chunk that are not there.
func (p *part) missing(i int) (begin, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	begin, end = p.state.chunk(i)
	return begin + p.state.Done[i], end
}

// write adds bytes to a chunk.
func (p *part) write(i int, data []byte) error {
	begin, end := p.missing(i)
	if int64(len(data)) > end-begin {
		return errors.New("more bytes came than were asked for")
	}
	if _, err := p.file.WriteAt(data, begin); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Done[i] += int64(len(data))
	return nil
}

// forget forgets a chunk.
func (p *part) forget(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Done[i] = 0
}

// save writes the state down. It takes effect at once or not at all; a state that is older than the bytes does no harm.
func (p *part) save() error {
	p.mu.Lock()
	data, err := json.Marshal(p.state)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	next := p.statePath() + ".new"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.statePath())
}

// finish gives the file its name. What was there of that name is replaced.
func (p *part) finish(dest string) error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(p.path, dest); err != nil {
		return err
	}
	_ = os.Remove(p.statePath())
	if dir, err := os.Open(filepath.Dir(dest)); err == nil {
		_ = dir.Sync() // so that the name outlasts a power cut; not every file system can
		_ = dir.Close()
	}
	return nil
}

// discard removes the part.
func (p *part) discard() error {
	err := os.Remove(p.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(p.path))
}

// close lets go of the lock. What is there stays, unless it is nothing.
func (p *part) close() {
	if isStill(p.file, p.path) && p.done() == 0 {
		_ = p.discard()
	}
	_ = p.file.Close()
}
