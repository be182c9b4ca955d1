package hub

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestDownloadFails lets the server misbehave in ways that nobody can overcome.
func TestDownloadFails(t *testing.T) {
	data := random(100<<10, 6)
	tests := []struct {
		name, want string
		left       int // files
		serve      func(w http.ResponseWriter, r *http.Request, data []byte) bool
	}{
		{"corrupts", "checksum; it was deleted", 0, func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			begin, end := rangeOf(r, len(data))
			partial(w, begin, end, len(data))
			other := bytes.Clone(data[begin:end])
			other[7] ^= 1
			_, _ = w.Write(other)
			return true
		}},
		{"has a shorter file", "has a file of 10 bytes", 0, func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}},
		{"cannot satisfy", "shorter file than", 0, func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}},
		{"always cuts a whole file", "unexpected EOF", 0, func(w http.ResponseWriter, _ *http.Request, data []byte) bool {
			w.Header().Set("Content-Length", "102400")
			_, _ = w.Write(data[:99<<10])
			return true
		}},
		{"compresses", `encoding "gzip"`, 0, func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}},
		{"refuses", "answers 403", 0, func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		}},
		{"wants to be left alone for a day", "answers 429", 0, func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}},
		{"redirects to nothing", "answers 404", 0, func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return true
		}},
		{"redirects to a file", "no web address", 0, func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
			return true
		}},
		{"redirects in circles", "in circles", 0, func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
			return true
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newFakeHub(t, map[string][]byte{name: data})
			h.serve = tt.serve
			dir := t.TempDir()
			err := h.pull(t.Context(), h.client(t, "hf_token"), dir, name)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "hf_token")) {
				t.Errorf("a secret is in %v", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != tt.left {
				t.Errorf("left over: %v, %v", entries, err)
			}
			if len(h.leaked) > 0 {
				t.Errorf("the token went to %v", h.leaked)
			}
		})
	}
}

func TestDownloadRefusesToFillTheDisk(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{name: nil})
	dir := t.TempDir()
	h.answer = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("X-Linked-Size", "1125899906842624")
		http.Redirect(w, r, h.cdn.URL, http.StatusFound)
		return true
	}
	err := h.client(t, "").Download(t.Context(), ref, File{Path: name, SizeBytes: 1 << 50}, filepath.Join(dir, name), false)
	if err == nil || !strings.Contains(err.Error(), "1.00 PiB are needed") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 || len(h.requests) != 0 {
		t.Errorf("left over: %v, requests %v", entries, h.requests)
	}
}

func TestDownloadWithoutAChecksumMixesNoVersions(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{name: random(200<<10, 9)})
	var etag atomic.Int32
	h.answer = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, h.cdn.URL+"/bytes/"+name, http.StatusFound)
		return true
	}
	h.serve = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.Header().Set("Etag", `"`+string('a'+etag.Add(1))+`"`)
		return false
	}
	dir := t.TempDir()
	f := File{Path: name, SizeBytes: 200 << 10}
	err := h.client(t, "").Download(t.Context(), ref, f, filepath.Join(dir, name), false)
	if !errors.Is(err, errChanged) {
		t.Errorf("got %v", err)
	}
	h.change(func() { h.serve = nil })
	if err := h.client(t, "").Download(t.Context(), ref, f, filepath.Join(dir, name), false); err != nil {
		t.Error(err)
	}
}

func TestRedirectsKeepTheEncryption(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the request went on without encryption")
	}))
	defer plain.Close()
	hub := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusFound)
	}))
	defer hub.Close()
	c, err := NewClient(hub.URL, "hf_secret")
	if err != nil {
		t.Fatal(err)
	}
	c.Transport = hub.Client().Transport
	if _, err := c.Files(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "without encryption; refused") {
		t.Errorf("got %v", err)
	}
	err = c.Download(t.Context(), ref, File{Path: name, SizeBytes: 1}, filepath.Join(t.TempDir(), name), false)
	if err == nil || !strings.Contains(err.Error(), "without encryption; refused") {
		t.Errorf("got %v", err)
	}
}

func TestServersThatAreNotTrustedAreAskedOnce(t *testing.T) {
	hub := httptest.NewTLSServer(http.NotFoundHandler())
	hub.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer hub.Close()
	c, err := NewClient(hub.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	c.timing.tries = 1000 // would take hours
	if _, err := c.Files(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}
