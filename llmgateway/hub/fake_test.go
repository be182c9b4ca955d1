package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeHub is a hub and, on a host of its own, the server that has the bytes.
type fakeHub struct {
	hub, cdn *httptest.Server

	mu       sync.Mutex // guards what follows
	files    map[string][]byte
	requests []string // of the CDN: ranges
	leaked   []string // requests to the CDN with credentials
	serve    func(w http.ResponseWriter, r *http.Request, data []byte) bool
	answer   func(w http.ResponseWriter, r *http.Request) bool // of the hub
	signed   int                                               // how often the hub gave an address
}

func newFakeHub(t *testing.T, files map[string][]byte) *fakeHub {
	t.Helper()
	h := &fakeHub{files: files}
	h.cdn = httptest.NewServer(http.HandlerFunc(h.serveBytes))
	h.hub = httptest.NewServer(http.HandlerFunc(h.serveHub))
	t.Cleanup(h.cdn.Close)
	t.Cleanup(h.hub.Close)
	return h
}

func sum(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

func (h *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	answer := h.answer
	h.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if path, ok := strings.CutPrefix(r.URL.Path, "/owner/repo-GGUF/resolve/main/"); ok {
		data, there := h.files[path]
		if !there {
			http.NotFound(w, r)
			return
		}
		h.signed++
		w.Header().Set("X-Linked-Etag", strconv.Quote(sum(data)))
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
		http.Redirect(w, r, h.cdn.URL+"/bytes/"+path+"?signature=SECRET"+strconv.Itoa(h.signed), http.StatusFound)
		return
	}
	if r.URL.Path != "/api/models/owner/repo-GGUF/tree/main" {
		http.NotFound(w, r)
		return
	}
	var list []map[string]any
	for path, data := range h.files {
		list = append(list, map[string]any{
			"type": "file", "path": path, "size": len(data), "oid": "x",
			"lfs": map[string]any{"oid": sum(data), "size": len(data), "pointerSize": 135},
		})
	}
	_ = json.NewEncoder(w).Encode(append(list, map[string]any{"type": "directory", "path": "folder"}))
}

// change changes what the hub does between two requests.
func (h *fakeHub) change(to func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	to()
}

func (h *fakeHub) serveBytes(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r.Header.Get("Range"))
	if r.Header.Get("Authorization") != "" {
		h.leaked = append(h.leaked, r.URL.String())
	}
	data, ok := h.files[strings.TrimPrefix(r.URL.Path, "/bytes/")]
	serve := h.serve
	h.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	if serve == nil || !serve(w, r, data) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
	}
}

// client returns a client of the hub that tries again at once, and waits long for a slow machine.
func (h *fakeHub) client(t *testing.T, token string) *Client {
	t.Helper()
	c, err := NewClient(h.hub.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	c.timing = timing{
		stall: time.Minute, backoff: time.Millisecond, longest: 10 * time.Millisecond, save: time.Millisecond,
		tries: 5, chunk: 64 << 10,
	}
	c.Say = func(message string) { t.Log(message) }
	t.Cleanup(c.Transport.(*http.Transport).CloseIdleConnections)
	return c
}

var ref = Reference{Repo: "owner/repo-GGUF", Revision: "main"}

// pull lists the repository and downloads one of its files into dir.
func (h *fakeHub) pull(ctx context.Context, c *Client, dir, name string) error {
	files, err := c.Files(ctx, ref)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Path == name {
			return c.Download(ctx, ref, f, filepath.Join(dir, name), false)
		}
	}
	return fmt.Errorf("no %s in %v", name, files)
}

// random returns n bytes that are the same each time.
func random(n int, seed uint64) []byte {
	source := rand.NewChaCha8([32]byte{byte(seed)})
	b := make([]byte, n)
	_, _ = source.Read(b)
	return b
}

// rangeOf returns what a request asks for.
func rangeOf(r *http.Request, size int) (begin, end int) {
	end = size - 1
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &begin, &end)
	return begin, end + 1
}

// partial writes the head of a true answer to a request for a part.
func partial(w http.ResponseWriter, begin, end, size int) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, end-1, size))
	w.Header().Set("Content-Length", strconv.Itoa(end-begin))
	w.WriteHeader(http.StatusPartialContent)
}
