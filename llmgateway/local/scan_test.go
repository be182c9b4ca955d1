package local

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestScanFollowsLinksAndNoPipes(t *testing.T) {
	elsewhere, dir := t.TempDir(), t.TempDir()
	put(t, filepath.Join(elsewhere, "blob"), textModel(1))
	put(t, filepath.Join(elsewhere, "folder", "inner.gguf"), textModel(1))
	for name, target := range map[string]string{
		"linked.gguf": filepath.Join(elsewhere, "blob"), "sub": filepath.Join(elsewhere, "folder"), "dangling.gguf": "nowhere", "self": dir, "loop.gguf": "loop.gguf",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.gguf"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.gguf"), 0o700); err != nil {
		t.Fatal(err)
	}
	models, skipped := inventoryOf(t, &scanner{dir: dir, settle: folderSettle})
	if want := []string{"inner", "linked"}; !slices.Equal(models, want) {
		t.Errorf("got %q, %q", models, skipped)
	}
	// The folder is in itself, through a link; what is found there is there already.
	if got := skipped["self/linked.gguf"]; got != "its name is taken by linked.gguf" {
		t.Errorf("skipped: %q", skipped)
	}
}

func TestScanWaitsForFilesToBeWhole(t *testing.T) {
	dir := t.TempDir()
	s := &scanner{dir: dir, settle: time.Minute}
	check := func(wantModels []string, wantSkipped map[string]string) {
		t.Helper()
		if models, skipped := inventoryOf(t, s); !slices.Equal(models, wantModels) || !maps.Equal(skipped, wantSkipped) {
			t.Errorf("got %q, %q; want %q, %q", models, skipped, wantModels, wantSkipped)
		}
	}
	path := filepath.Join(dir, "m.gguf")
	put(t, path, textModel(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writing := map[string]string{"m": "m.gguf is still being written"}
	put(t, path, string(whole[:len(whole)/2]))
	check(nil, map[string]string{"m": "m.gguf is incomplete; was its download interrupted?"})
	put(t, path, string(whole[:len(whole)-1]))
	age(t, path, time.Second)
	check(nil, writing)
	put(t, path, string(whole))
	age(t, path, time.Second)
	check(nil, writing)
	age(t, path, time.Hour)
	check([]string{"m"}, nil)

	before := s.known[path].id
	put(t, path, textModel(2, "general.name", "the next one"))
	age(t, path, time.Second) // what was there goes on until the next one is whole
	check([]string{"m"}, nil)
	if s.known[path].id != before {
		t.Error("the file was read before it was whole")
	}
	age(t, path, 2*time.Hour)
	check([]string{"m"}, nil)
	if s.known[path].id == before {
		t.Error("the file was not read again")
	}
}

// A link that leads to itself stands for whatever keeps a folder from being looked at: permissions, a network drive.
func TestScanKeepsWhatCannotBeLookedAt(t *testing.T) {
	for _, broken := range []string{".", "sub"} {
		dir := filepath.Join(t.TempDir(), "models")
		put(t, filepath.Join(dir, "m.gguf"), textModel(1))
		put(t, filepath.Join(dir, "sub", "n.gguf"), textModel(1))
		s := &scanner{dir: dir, settle: folderSettle}
		if files, err := s.scan(time.Now()); len(files) != 2 || err != nil {
			t.Fatalf("got %v, %v", files, err)
		}
		folder := filepath.Join(dir, broken)
		if err := os.Rename(folder, dir+" away"); err != nil {
			t.Fatal(err)
		}
		if files, err := s.scan(time.Now()); broken == "." && (len(files) != 0 || problem(err) != "the folder is missing") {
			t.Errorf("missing: got %v, %v", files, err)
		}
		if err := os.Rename(dir+" away", folder); err != nil {
			t.Fatal(err)
		}
		if files, err := s.scan(time.Now()); len(files) != 2 || err != nil {
			t.Fatalf("got %v, %v", files, err)
		}
		if err := os.Rename(folder, dir+" away"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Base(folder), folder); err != nil {
			t.Fatal(err)
		}
		if files, err := s.scan(time.Now()); len(files) != 2 || problem(err) != "the folder, or one in it, could not be read" {
			t.Errorf("unreadable: got %v, %v", files, err)
		}
	}
}

func TestScanIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFiles + 5 {
		put(t, filepath.Join(dir, fmt.Sprintf("%04d.gguf", i)), "")
	}
	s := &scanner{dir: dir, settle: folderSettle}
	if files, err := s.scan(time.Now()); len(files) != maxFiles || problem(err) == "" {
		t.Errorf("got %d files, %v", len(files), err)
	}
	other := t.TempDir()
	for i := range maxNames + 5 {
		if err := os.Symlink("nowhere", filepath.Join(other, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if files, err := (&scanner{dir: other}).scan(time.Now()); len(files) != 0 || problem(err) == "" {
		t.Errorf("got %d files, %v", len(files), err)
	}
	t.Logf("%d names took %v", maxNames, time.Since(began))
}
