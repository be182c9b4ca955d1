package caddymodule

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// modelHub is a hub with one repository, o/r, whose files are the given ones. It wants the token hf_right. HF_ENDPOINT
// names it.
func modelHub(t *testing.T, files map[string][]byte) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hf_right" {
			w.Header().Set("X-Error-Message", "Access to model o/r is restricted.\u009b2J")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/api/models/o/r/tree/main" {
			var entries []string
			for name, data := range files {
				entries = append(entries, fmt.Sprintf(`{"type":"file","path":%q,"size":%d,"lfs":{"oid":"%x","size":%d}}`, name, len(data), sha256.Sum256(data), len(data)))
			}
			fmt.Fprintf(w, "[%s]", strings.Join(entries, ","))
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/o/r/resolve/main/")
		if data, ok := files[name]; ok {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_TOKEN", "")
	t.Setenv("HF_API_KEY", "hf_right")
}

func TestPullCommandDownloadsAModel(t *testing.T) {
	model, err := os.ReadFile(starterModel(t))
	if err != nil {
		t.Fatal(err)
	}
	modelHub(t, map[string][]byte{"m-Q4_K_M.gguf": model, "m-Q8_0.gguf": []byte("GGUF")})
	dir := t.TempDir()
	out, err := command(t, "pull", "o/r", "--to", dir)
	path := filepath.Join(dir, "m-Q4_K_M.gguf")
	if err != nil || !strings.HasSuffix(out, path+"\n") {
		t.Fatalf("got %q, %v", out, err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, model) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if out, err = command(t, "pull", "o/r", "--to", dir); err != nil || !strings.Contains(out, "is there already") {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err = command(t, "pull", "o/r:q8_0", "--to", dir); err == nil || !strings.Contains(err.Error(), "no usable model") {
		t.Errorf("a broken model: got %v", err)
	}
	if _, err = command(t, "pull", "o/r:q2_k", "--to", dir); err == nil || !strings.Contains(err.Error(), "m-Q8_0.gguf") {
		t.Errorf("a file that is not there: got %v", err)
	}
	if _, err = command(t, "pull", "../r"); err == nil {
		t.Error("a bad name is taken")
	}
}

func TestPullCommandSaysHowToBeLetIn(t *testing.T) {
	modelHub(t, nil)
	for token, want := range map[string]string{"": "set HF_TOKEN", "hf_wrong": "token in HF_TOKEN does not open"} {
		t.Setenv("HF_API_KEY", "")
		t.Setenv("HF_TOKEN", token)
		_, err := command(t, "pull", "o/r", "--to", t.TempDir())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "restricted.") {
			t.Errorf("got %v, want %s", err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hf_wrong") || strings.Contains(err.Error(), "\u009b")) {
			t.Errorf("got %q", err)
		}
	}
}
