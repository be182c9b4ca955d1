package hub

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const name = "model-Q4_K_M.gguf"

// check expects the file to be whole, and nothing else to be left over.
func check(t *testing.T, dir string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}

func TestDownloadFetchesPartsAtOnce(t *testing.T) {
	data := random(300<<10+17, 1)
	h := newFakeHub(t, map[string][]byte{name: data})
	var now, most atomic.Int32
	both := make(chan struct{}) // closed once two parts are asked for at the same time
	var once sync.Once
	h.serve = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			continue
		}
		if n >= 2 {
			once.Do(func() { close(both) })
		}
		select {
		case <-both:
		case <-r.Context().Done(): // one by one, it ends when the client is impatient
		}
		time.Sleep(20 * time.Millisecond)
		return false
	}
	c := h.client(t, "")
	var last Progress
	checked := false
	c.Progress = func(p Progress) { last, checked = p, checked || p.Checking }
	dir := t.TempDir()
	if err := h.pull(t.Context(), c, dir, name); err != nil {
		t.Fatal(err)
	}
	check(t, dir, data)
	if len(h.requests) != 5 || most.Load() < 2 || most.Load() > 4 {
		t.Errorf("%d requests, at most %d at once", len(h.requests), most.Load())
	}
	if !checked || last.Done != int64(len(data)) || last.Total != last.Done {
		t.Errorf("last progress %+v", last)
	}
	before := len(h.requests)
	if err := h.pull(t.Context(), c, dir, name); err != nil || len(h.requests) != before {
		t.Errorf("a file that is there was downloaded again: %v", err)
	}
}

// TestDownloadEndsWell lets the server misbehave in ways that can be overcome.
func TestDownloadEndsWell(t *testing.T) {
	data := random(300<<10, 2)
	var calls atomic.Int32
	tests := []struct {
		name  string
		serve func(w http.ResponseWriter, r *http.Request, data []byte) bool
	}{
		{"cuts", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			begin, end := rangeOf(r, len(data))
			partial(w, begin, end, len(data))
			_, _ = w.Write(data[begin:min(end, begin+10<<10)])
			return true
		}},
		{"stalls", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			if calls.Add(1)%2 == 0 {
				return false
			}
			begin, end := rangeOf(r, len(data))
			partial(w, begin, end, len(data))
			_, _ = w.Write(data[begin:min(end, begin+100)])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}},
		{"stalls before it answers", func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			if calls.Add(1)%2 == 0 {
				return false
			}
			<-r.Context().Done()
			return true
		}},
		{"ignores ranges", func(w http.ResponseWriter, _ *http.Request, data []byte) bool {
			_, _ = w.Write(data)
			return true
		}},
		{"ignores ranges and cuts", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			n := len(data)
			if r.Header.Get("Range") == "" && calls.Add(1) < 3 {
				w.Header().Set("Content-Length", "307200")
				n -= 1000
			}
			_, _ = w.Write(data[:n])
			return true
		}},
		{"is busy", func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			if calls.Add(1) > 4 {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}},
		{"wants to be left alone", func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			if calls.Add(1) != 2 {
				return false
			}
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}},
		{"sends another part at times", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			if calls.Add(1)%2 == 0 {
				return false
			}
			begin, end := rangeOf(r, len(data))
			partial(w, begin+1, end, len(data))
			_, _ = w.Write(data[begin+1 : end])
			return true
		}},
		{"lies about the length at times", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			if calls.Add(1)%2 == 0 {
				return false
			}
			begin, end := rangeOf(r, len(data))
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[begin:end])
			return true
		}},
		{"sends too much", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			begin, end := rangeOf(r, len(data))
			w.Header().Set("Content-Range", strings.Replace(r.Header.Get("Range"), "=", " ", 1)+"/307200")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[begin:end])
			_ = http.NewResponseController(w).Flush() // chunked: without a length
			_, _ = w.Write(data)
			return true
		}},
		{"lets addresses expire", func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if calls.Add(1) > 3 && strings.HasSuffix(r.URL.RawQuery, "SECRET1") {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls.Store(0)
			h := newFakeHub(t, map[string][]byte{name: data})
			h.serve = tt.serve
			dir, c := t.TempDir(), h.client(t, "hf_x")
			if strings.HasPrefix(tt.name, "stalls") {
				c.timing.stall = 300 * time.Millisecond
			}
			began := time.Now()
			if err := h.pull(t.Context(), c, dir, name); err != nil {
				t.Fatal(err)
			}
			check(t, dir, data)
			if len(h.leaked) > 0 {
				t.Errorf("the token went to %v", h.leaked)
			}
			if tt.name == "wants to be left alone" && time.Since(began) < time.Second {
				t.Error("it was not left alone")
			}
		})
	}
}

func TestDownloadGoesOnWhereItWasCut(t *testing.T) {
	data := random(300<<10, 3)
	h := newFakeHub(t, map[string][]byte{name: data})
	dir := t.TempDir()
	var calls atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	c := h.client(t, "")
	c.Progress = func(p Progress) {
		if p.Done == 2*64<<10+3*20<<10 { // two chunks, and the beginnings of three
			cancel()
		}
	}
	h.serve = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
		if calls.Add(1) <= 2 {
			return false
		}
		begin, end := rangeOf(r, len(data))
		partial(w, begin, end, len(data))
		_, _ = w.Write(data[begin : begin+20<<10])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
	if err := h.pull(ctx, c, dir, name); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("an incomplete file has its name: %v", err)
	}
	h.requests, h.serve = nil, nil
	if err := h.pull(t.Context(), h.client(t, ""), dir, name); err != nil {
		t.Fatal(err)
	}
	check(t, dir, data)
	asked := 0
	for _, r := range h.requests {
		begin, end := rangeOf(&http.Request{Header: http.Header{"Range": {r}}}, len(data))
		asked += end - begin
	}
	if asked != len(data)-2*64<<10-3*20<<10 {
		t.Errorf("asked for %d bytes again: %v", asked, h.requests)
	}
}

func TestDownloadBeginsAnewWhenTheFileChanged(t *testing.T) {
	for _, damage := range []string{"", "state", "part"} {
		t.Run(damage, func(t *testing.T) {
			old, data := random(200<<10, 4), random(200<<10, 5)
			h := newFakeHub(t, map[string][]byte{name: old})
			h.serve = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
				begin, end := rangeOf(r, len(data))
				partial(w, begin, end, len(data))
				_, _ = w.Write(data[begin : begin+10])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return true
			}
			dir := t.TempDir()
			c := h.client(t, "")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c.Progress = func(p Progress) {
				if p.Done > 0 {
					cancel()
				}
			}
			if err := h.pull(ctx, c, dir, name); err == nil {
				t.Fatal("no error")
			}
			h.change(func() { h.serve = nil })
			switch damage {
			case "state":
				if err := os.WriteFile(filepath.Join(dir, name+".part.json"), []byte(`{"chunk_bytes":-1`), 0o600); err != nil {
					t.Fatal(err)
				}
				data = old
			case "part":
				if err := os.Truncate(filepath.Join(dir, name+".part"), 5); err != nil {
					t.Fatal(err)
				}
				data = old
			default:
				h.change(func() { h.files[name] = data })
			}
			if err := h.pull(t.Context(), h.client(t, ""), dir, name); err != nil {
				t.Fatal(err)
			}
			check(t, dir, data)
		})
	}
}

func TestDownloadReplacesAFileOnlyIfToldTo(t *testing.T) {
	data := random(1000, 7)
	h := newFakeHub(t, map[string][]byte{name: data})
	dir := t.TempDir()
	dest := filepath.Join(dir, name)
	if err := os.WriteFile(dest, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := h.client(t, "")
	if err := h.pull(t.Context(), c, dir, name); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("got %v", err)
	}
	if got, _ := os.ReadFile(dest); string(got) != "mine" {
		t.Fatalf("got %q", got)
	}
	if err := c.Download(t.Context(), ref, File{Path: name, SizeBytes: 1000, SHA256: sum(data)}, dest, true); err != nil {
		t.Fatal(err)
	}
	check(t, dir, data)
}

func TestTwoDownloadsOfOneFileTakeTurns(t *testing.T) {
	data := random(200<<10, 8)
	h := newFakeHub(t, map[string][]byte{name: data})
	h.serve = func(http.ResponseWriter, *http.Request, []byte) bool {
		time.Sleep(50 * time.Millisecond)
		return false
	}
	dir := t.TempDir()
	failures := make(chan error)
	for range 3 {
		go func() { failures <- h.pull(t.Context(), h.client(t, ""), dir, name) }()
	}
	for range 3 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	check(t, dir, data)
	if slices.Sort(h.requests); len(h.requests) != len(slices.Compact(slices.Clone(h.requests))) {
		t.Errorf("bytes were fetched twice: %v", h.requests)
	}
}
