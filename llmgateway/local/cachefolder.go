package local

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// cacheFolder holds what one [Key]'s slots have computed, between two runs of its server. Its name is a digest of the key
// and of the files as the server found them, so that a changed model never gets the cache of the one before.
//
// The manifest says which files count. It is replaced in one step; a file that it does not name is rubbish.
type cacheFolder struct {
	path  string
	model cachedModel
}

// manifest is the list of what a folder holds.
type manifest struct {
	Model cachedModel  `json:"model"`
	Saved time.Time    `json:"saved"`
	Slots []cachedSlot `json:"slots"`
}

// cachedModel tells which model a cache is of, for whoever looks for stale ones.
type cachedModel struct {
	Path     string    `json:"path"`
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
}

type cachedSlot struct {
	ID     int    `json:"id"`
	File   string `json:"file"`
	Tokens int    `json:"tokens"`
	Bytes  int64  `json:"bytes"`
	CRC    uint32 `json:"crc"`
	// Prompt tells whose prompt it is.
	Prompt chain `json:"prompt"`
}

const (
	manifestName = "cache.json"
	// tryingName is the manifest's name while its files are being read. A server that dies of them leaves it behind.
	tryingName = "cache.trying.json"
	// cacheAge is how long an unused cache is kept.
	cacheAge = 30 * 24 * time.Hour
)

// newCacheFolder makes the folder for a key whose files are there.
func newCacheFolder(key Key) (*cacheFolder, error) {
	model := identify(parts(key.ModelPath)...)
	f := &cacheFolder{
		path:  filepath.Join(key.CacheDir, digest(key)),
		model: cachedModel{Path: key.ModelPath, Bytes: model.sizeBytes, Modified: model.modified},
	}
	return f, f.make()
}

func (f *cacheFolder) make() error { return os.MkdirAll(f.path, 0o700) }

// digest names what a server computes with. A file counts with its size and time, not with its inode: a copy is as good.
func digest(key Key) string {
	h := sha256.New()
	settings := key.Config
	settings.CacheDir = ""
	_ = json.NewEncoder(h).Encode(settings)
	for _, path := range key.files() {
		id := identify(path)
		fmt.Fprintln(h, id.sizeBytes, id.modified.UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

var digested = regexp.MustCompile(`^[0-9a-f]{32}$`)

// lock makes this process the only one that changes the folder, until it is closed.
func (f *cacheFolder) lock() (io.Closer, error) { return lockDir(f.path) }

// take returns the manifest, which is put aside until it is written again: if that never happens, its files have killed
// the server that read them, and the next one starts without. The folder is locked.
func (f *cacheFolder) take() *manifest {
	trying := filepath.Join(f.path, tryingName)
	if os.Remove(trying) == nil {
		f.keep(nil)
		return nil
	}
	if os.Rename(filepath.Join(f.path, manifestName), trying) != nil {
		f.keep(nil)
		return nil
	}
	m, err := readManifest(trying)
	if err != nil || m.Model != f.model {
		f.keep(nil)
		return nil
	}
	return m
}

// write makes slots what the folder holds, and removes all else. The folder is locked.
func (f *cacheFolder) write(slots []cachedSlot) error {
	defer f.keep(slots)
	if len(slots) == 0 {
		return nil
	}
	data, err := json.Marshal(manifest{Model: f.model, Saved: time.Now(), Slots: slots})
	if err != nil {
		return err
	}
	part := filepath.Join(f.path, manifestName+".part")
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(f.path, manifestName))
}

// keep removes every file but those of the given slots, and their manifest.
func (f *cacheFolder) keep(slots []cachedSlot) {
	entries, _ := os.ReadDir(f.path)
	for _, entry := range entries {
		named := entry.Name() == manifestName && len(slots) > 0 ||
			slices.ContainsFunc(slots, func(s cachedSlot) bool { return s.File == entry.Name() })
		if !named {
			_ = os.Remove(filepath.Join(f.path, entry.Name()))
		}
	}
}

// create makes a new empty file that nobody else may read, and returns its name.
func (f *cacheFolder) create(slot int) (string, error) {
	name := fmt.Sprintf("%d-%s.slot", slot, rand.Text())
	file, err := os.OpenFile(filepath.Join(f.path, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	return name, file.Close()
}

// whole reports whether a slot's file is what was saved.
func (f *cacheFolder) whole(slot cachedSlot) bool {
	size, sum, err := f.checksum(slot.File)
	return err == nil && size == slot.Bytes && sum == slot.CRC
}

func (f *cacheFolder) checksum(name string) (size int64, sum uint32, err error) {
	file, err := os.Open(filepath.Join(f.path, filepath.Base(name)))
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	size, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{file}, make([]byte, 1<<20))
	return size, h.Sum32(), err
}

func readManifest(path string) (*manifest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := new(manifest)
	return m, json.Unmarshal(data, m)
}

// removeStaleCaches removes the caches beside f whose model is another one now, or gone, and those that nobody has wanted
// for a long time.
func (f *cacheFolder) removeStaleCaches() {
	root := filepath.Dir(f.path)
	entries, _ := os.ReadDir(root)
	for _, entry := range entries {
		path := filepath.Join(root, entry.Name())
		if !entry.IsDir() || !digested.MatchString(entry.Name()) || path == f.path || !stale(path) {
			continue
		}
		if lock, err := lockDir(path); err == nil {
			removeCache(path)
			_ = lock.Close()
		}
	}
}

// removeCache removes a folder of files that are all a cache's own. One that holds anything else is somebody else's.
func removeCache(path string) {
	entries, err := os.ReadDir(path)
	if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !e.Type().IsRegular() || !cacheFile.MatchString(e.Name()) }) {
		return
	}
	for _, entry := range entries {
		_ = os.Remove(filepath.Join(path, entry.Name()))
	}
	_ = os.Remove(path)
}

// cacheFile matches the names of all files that a cache makes.
var cacheFile = regexp.MustCompile(`^(cache\.json(\.part)?|cache\.trying\.json|\d+-[A-Z2-7]+\.slot)$`)

func stale(path string) bool {
	m, err := readManifest(filepath.Join(path, manifestName))
	if err != nil {
		// A server may be using it that has not saved anything yet.
		info, err := os.Stat(path)
		return err == nil && time.Since(info.ModTime()) > cacheAge
	}
	now := identify(parts(m.Model.Path)...)
	return now.sizeBytes != m.Model.Bytes || !now.modified.Equal(m.Model.Modified) || time.Since(m.Saved) > cacheAge
}
