package local

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// runDir is a folder of this gateway process, made when it is first needed, that holds the engines' sockets. Nobody but
// the gateway's user can reach them.
//
// The open and locked folder tells other gateways, and systemd-tmpfiles, that it is in use. The lock ends with the
// process, however that ends.
type runDir struct {
	mu      sync.Mutex // guards what follows
	path    string     // empty while there is none
	lock    *os.File
	sockets map[string]bool
	last    int // number of the last socket
}

var sockets runDir

const (
	runDirPrefix = "llmgateway-"
	// maxSocketPath is what fits into sockaddr_un on Linux, without the final zero.
	maxSocketPath = 107
	// socketRoom is what a socket needs of it besides the base folder: "/llmgateway-1234567890/123456.sock".
	socketRoom = 34
)

// reserve returns the path for a new socket. There is no file with that name.
func (d *runDir) reserve() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := os.Stat(d.path); d.path == "" || err != nil {
		if err := d.create(); err != nil {
			return "", fmt.Errorf("making a folder for sockets: %w", err)
		}
	}
	d.last++
	path := filepath.Join(d.path, fmt.Sprintf("%d.sock", d.last))
	d.sockets[path] = true
	return path, nil
}

// release removes a socket, and the folder with the last one.
func (d *runDir) release(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = os.Remove(path)
	if !d.sockets[path] {
		return
	}
	delete(d.sockets, path)
	if len(d.sockets) == 0 {
		_ = os.Remove(d.path)
		_ = d.lock.Close()
		d.path, d.lock = "", nil
	}
}

// create makes the folder and removes those of gateways that are gone. mu is held.
func (d *runDir) create() error {
	base := RunBase()
	removeStale(base)
	for {
		path, err := os.MkdirTemp(base, runDirPrefix)
		if err != nil {
			return err
		}
		lock, err := lockDir(path)
		if err != nil {
			// Another gateway took the new folder for a stale one.
			if _, gone := os.Stat(path); gone != nil {
				continue
			}
			return err
		}
		if d.lock != nil {
			_ = d.lock.Close()
		}
		d.path, d.lock, d.sockets = path, lock, map[string]bool{}
		return nil
	}
}

// RunBase returns the folder in which the gateway makes one for its engines' sockets.
func RunBase() string { return baseDir(os.Getenv("XDG_RUNTIME_DIR"), os.TempDir()) }

// baseDir returns the first folder that exists and leaves enough room for a socket's name.
func baseDir(candidates ...string) string {
	for _, dir := range candidates {
		// llama-server reads several hosts from one flag, so its separators cannot be part of a path.
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || len(dir)+socketRoom > maxSocketPath || strings.ContainsAny(dir, ",\"\n") {
			continue
		}
		if abs, err := filepath.Abs(dir); err == nil && abs == filepath.Clean(dir) {
			return abs
		}
	}
	return "/tmp"
}

// removeStale removes the folders of this user's gateways that are no more.
func removeStale(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), runDirPrefix) {
			continue
		}
		path := filepath.Join(base, entry.Name())
		if info, err := entry.Info(); err != nil || !isOurs(info) || !onlySockets(path) {
			continue
		}
		if lock, err := lockDir(path); err == nil {
			_ = os.RemoveAll(path)
			_ = lock.Close()
		}
	}
}

// onlySockets reports whether a folder has nothing in it but what a gateway puts there. With anything else it is somebody's, who
// named it like one.
func onlySockets(path string) bool {
	entries, err := os.ReadDir(path)
	return err == nil && !slices.ContainsFunc(entries, func(entry os.DirEntry) bool { return entry.Type() != os.ModeSocket })
}
