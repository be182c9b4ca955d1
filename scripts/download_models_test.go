package scripts

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hub is a hub with the repository o/r, and a server of its own for the bytes.
type hub struct {
	*httptest.Server

	mu      sync.Mutex // guards what follows
	files   map[string][]byte
	ranges  []string
	tokens  []string // that the server with the bytes got
	spoil   func(w http.ResponseWriter, r *http.Request, data []byte) bool
	refuses bool
}

func newHub(t *testing.T, c *checkout, files map[string][]byte) *hub {
	t.Helper()
	h := &hub{files: files}
	bytesOf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.ranges = append(h.ranges, r.Header.Get("Range"))
		if token := r.Header.Get("Authorization"); token != "" {
			h.tokens = append(h.tokens, token)
		}
		data, spoil := h.files[r.URL.Path[1:]], h.spoil
		h.mu.Unlock()
		if spoil == nil || !spoil(w, r, data) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		}
	}))
	t.Cleanup(bytesOf.Close)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		name := strings.TrimPrefix(r.URL.Path, "/o/r/resolve/main/")
		data, ok := h.files[name]
		switch {
		case h.refuses && r.Header.Get("Authorization") != "Bearer hf_right":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/api/models/o/r/tree/main":
			var entries []string
			for name, data := range h.files {
				entries = append(entries, fmt.Sprintf(`{"type":"file","oid":"x","size":%d,"lfs":{"oid":"%x","size":%d},"path":%q}`, len(data), sha256.Sum256(data), len(data), name))
			}
			fmt.Fprintf(w, "[%s]", strings.Join(entries, ","))
		case ok:
			w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
			w.Header().Set("X-Linked-Etag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
			http.Redirect(w, r, strings.Replace(bytesOf.URL, "127.0.0.1", "localhost", 1)+"/"+name, http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(h.Close)
	c.env = []string{"HF_ENDPOINT=" + h.URL, "DOWNLOAD_PAUSE=0", "HF_API_KEY=hf_right"}
	return h
}

// change changes what the hub does. It is asked by another process, whose requests tell the race detector nothing.
func (h *hub) change(to func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	to()
}

// seen returns the ranges that were asked for, and the tokens that came to where they do not belong.
func (h *hub) seen() (ranges, tokens []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ranges), slices.Clone(h.tokens)
}

// checkModels expects exactly these files in models/.
func (c *checkout) checkModels(want map[string][]byte) {
	c.t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.dir, "models"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, entry := range entries {
		if data, ok := want[entry.Name()]; !ok || c.read("models/"+entry.Name()) != string(data) {
			c.t.Errorf("there is a wrong %s", entry.Name())
		}
	}
	if len(entries) != len(want) {
		c.t.Errorf("got %v, want %d files", entries, len(want))
	}
}

func TestDownloadModelsWithCurl(t *testing.T) {
	c := newCheckout(t, "download_models.sh")
	a, one, two, projector := bytes.Repeat([]byte("a"), 300<<10), []byte("one"), []byte("two"), []byte("p")
	h := newHub(t, c, map[string][]byte{
		"m-Q4_K_M.gguf": a, "m-Q4_K_S.gguf": two, "Q8_0/m-Q8_0-00001-of-00002.gguf": one, "Q8_0/m-Q8_0-00002-of-00002.gguf": two,
		"mmproj-m-F32.gguf": one, "mmproj-m-F16.gguf": projector, "README.md": nil,
	})
	var cut atomic.Int32
	h.change(func() {
		h.refuses = true
		h.spoil = func(w http.ResponseWriter, _ *http.Request, data []byte) bool {
			if cut.Add(1) > 1 {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:len(data)/2])
			return true
		}
	})
	out, err := c.run("", "download_models.sh", "o/r:q4_k_m+mmproj", "o/r:Q8_0")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := map[string][]byte{
		"m-Q4_K_M.gguf": a, "mmproj-m-F16.gguf": projector, "m-Q8_0-00001-of-00002.gguf": one, "m-Q8_0-00002-of-00002.gguf": two,
	}
	c.checkModels(want)
	ranges, tokens := h.seen()
	if len(ranges) != 5 || ranges[1] != "bytes=153600-" {
		t.Errorf("it did not go on where it was cut: %q", ranges)
	}
	if len(tokens) > 0 || strings.Contains(out, "hf_right") {
		t.Errorf("the token went to %q: %s", tokens, out)
	}
	out, err = c.run("", "download_models.sh", "o/r:q4_k_m", "o/r:m-Q4_K_S.gguf")
	if ranges, _ := h.seen(); err != nil || len(ranges) != 6 || !strings.Contains(out, "there already") {
		t.Errorf("got %v, %q: %s", err, ranges, out)
	}
}

func TestDownloadModelsNoticesWhatIsWrong(t *testing.T) {
	tests := []struct {
		name, arg, want string
		prepare         func(*checkout, *hub)
	}{
		{"corrupt", "o/r:Q4_0", "does not have the hub's checksum; it was deleted", func(_ *checkout, h *hub) {
			h.spoil = func(w http.ResponseWriter, _ *http.Request, data []byte) bool {
				_, _ = w.Write(bytes.Repeat([]byte("x"), len(data)))
				return true
			}
		}},
		{"not the hub's", "o/r:Q4_0", "is not the hub's file", func(c *checkout, _ *hub) { c.write("models/m-Q4_0.gguf", "mine", 0o600) }},
		{"gated", "o/r:Q4_0", "set HF_TOKEN", func(c *checkout, h *hub) { h.refuses, c.env[2] = true, "HF_TOKEN=hf_wrong" }},
		{"unknown quantization", "o/r:Q2_K", "m-Q4_0.gguf", nil},
		{"unknown file", "o/r:x.gguf", "there is no file x.gguf", nil},
		{"unknown repository", "o/other:Q4_0", "is not there", nil},
		{"ambiguous", "o/r:Q5_0", "name a file", nil},
		{"no projector", "o/r:Q4_0+mmproj", "no vision projector", nil},
		{"no name", "o/r", "owner/repository:quantization", nil},
		{"bad name", "../..:Q4_0", "owner/repository:quantization", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCheckout(t, "download_models.sh")
			h := newHub(t, c, map[string][]byte{"m-Q4_0.gguf": []byte("abc"), "a-Q5_0.gguf": nil, "b-Q5_0.gguf": nil})
			if tt.prepare != nil {
				h.change(func() { tt.prepare(c, h) })
			}
			out, err := c.run("", "download_models.sh", tt.arg)
			if err == nil || !strings.Contains(out, tt.want) || !strings.Contains(out, "1 of 1 could not") {
				t.Errorf("got %v, %s", err, out)
			}
			if strings.Contains(out, "hf_wrong") {
				t.Errorf("the token is shown: %s", out)
			}
			want := map[string][]byte{}
			if tt.name == "not the hub's" {
				want["m-Q4_0.gguf"] = []byte("mine")
			}
			c.checkModels(want)
		})
	}
}

func TestDownloadModelsDropsAnotherVersion(t *testing.T) {
	c := newCheckout(t, "download_models.sh")
	newHub(t, c, map[string][]byte{"m-Q4_0.gguf": []byte("new version")})
	c.write("models/m-Q4_0.gguf.curl", "old", 0o600)
	c.write("models/m-Q4_0.gguf.curl.sum", "another\n", 0o600)
	if out, err := c.run("", "download_models.sh", "o/r:Q4_0"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.checkModels(map[string][]byte{"m-Q4_0.gguf": []byte("new version")})
}

func TestDownloadModelsPrefersCaddy(t *testing.T) {
	c := newCheckout(t, "download_models.sh")
	c.write("bin/caddy", "#!/bin/sh\n[ \"$4\" != --help ] && [ \"$3\" != --help ] && echo \"$@\" >>log\n[ \"$3\" != bad/r:x ]\n", 0o755)
	out, err := c.run("", "download_models.sh", "o/r:Q4_0+mmproj", "bad/r:x", "o/r:Q8_0")
	if err == nil || !strings.Contains(out, "1 of 3 could not") {
		t.Errorf("got %v, %s", err, out)
	}
	if got, want := c.read("log"), "llm pull o/r:Q4_0 --to models --mmproj\nllm pull bad/r:x --to models\nllm pull o/r:Q8_0 --to models\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDownloadModelsRunsCaddy runs bin/caddy, which `make test` builds before.
func TestDownloadModelsRunsCaddy(t *testing.T) {
	caddy, err := filepath.Abs("../bin/caddy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(caddy); err != nil {
		t.Skip("bin/caddy is not built")
	}
	model, err := os.ReadFile("../models/starter.gguf")
	if err != nil {
		t.Fatal(err)
	}
	c := newCheckout(t, "download_models.sh")
	newHub(t, c, map[string][]byte{"m-Q4_K_M.gguf": model}).refuses = true
	c.write("bin/.keep", "", 0o644)
	if err := os.Symlink(caddy, filepath.Join(c.dir, "bin", "caddy")); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run("", "download_models.sh", "o/r:q4_k_m"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.checkModels(map[string][]byte{"m-Q4_K_M.gguf": model})
}
