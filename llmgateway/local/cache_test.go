package local

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSavingIsBounded(t *testing.T) {
	e := engine(t, func(c *Config) { c.CacheDir = t.TempDir() }, "--slots", "hang")
	e.timing.caching = 100 * time.Millisecond
	acquire(t, e).Release()
	began := time.Now()
	restart(t, e)
	if took := time.Since(began); took < e.timing.caching || took > 10*time.Second {
		t.Errorf("ended after %v, want little more than %v", took, e.timing.caching)
	}
	if left := saved(t, e.key.CacheDir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestSettleWaitsForNobodyInVain(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		flags  []string
		load   bool
	}{
		{"without a cache", nil, []string{"--stubborn"}, true},
		{"never loaded", func(c *Config) { c.CacheDir = t.TempDir() }, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := engine(t, test.change, test.flags...)
			e.timing.patience = 2 * time.Second
			if test.load {
				acquire(t, e).Release()
			}
			began := time.Now()
			e.Settle(t.Context()) // held
			_ = e.Destruct()
			e.Settle(t.Context())
			if took := time.Since(began); took >= e.timing.patience {
				t.Errorf("waited %v", took)
			}
			gone(t, e)
			e.shared = NewShared(func() {}) // for the cleanup
		})
	}
	e := engine(t, func(c *Config) { c.CacheDir = t.TempDir() }, "--slots", "hang")
	acquire(t, e).Release()
	_ = e.Destruct()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	e.Settle(ctx)
	if ctx.Err() == nil {
		t.Error("it did not wait for what is being saved")
	}
	kill(t, e)
	gone(t, e)
	e.shared = NewShared(func() {}) // for the cleanup
}

func TestCacheThatCannotBeMadeIsDoneWithout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := engine(t, func(c *Config) { c.CacheDir = file })
	acquire(t, e).Release()
}

func TestCachesOfOtherModelsAreRemoved(t *testing.T) {
	root := t.TempDir()
	folder := func(change func(*Config)) *cacheFolder {
		t.Helper()
		config := Config{Binary: os.Args[0], ModelPath: modelFile(t), CacheDir: root}
		if change != nil {
			change(&config)
		}
		f, err := newCacheFolder(config.Key())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.write([]cachedSlot{{ID: 0, File: "0.slot"}}); err != nil {
			t.Fatal(err)
		}
		return f
	}
	exists := func(f *cacheFolder) bool {
		_, err := os.Stat(f.path)
		return err == nil
	}
	own, other := folder(nil), folder(nil)
	gone, changed := folder(nil), folder(nil)
	if err := os.Remove(gone.model.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(changed.model.Path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	// The second has a name like a cache's, and was not touched for long.
	foreign := []string{filepath.Join(root, "holiday pictures"), filepath.Join(root, strings.Repeat("0f", 16))}
	for _, path := range foreign {
		if err := os.MkdirAll(filepath.Join(path, "precious"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-2*cacheAge)); err != nil {
			t.Fatal(err)
		}
	}
	inUse := folder(nil)
	if err := os.Remove(inUse.model.Path); err != nil {
		t.Fatal(err)
	}
	lock, err := inUse.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	own.removeStaleCaches()
	for name, f := range map[string]*cacheFolder{"its own": own, "another's": other, "one in use": inUse} {
		if !exists(f) {
			t.Errorf("%s was removed", name)
		}
	}
	for name, f := range map[string]*cacheFolder{"a model that is gone": gone, "a model that changed": changed} {
		if exists(f) {
			t.Errorf("the cache of %s is still there", name)
		}
	}
	for _, path := range foreign {
		if _, err := os.Stat(filepath.Join(path, "precious")); err != nil {
			t.Error("a folder that is none of its business was removed")
		}
	}
}

func TestAnotherModelNeverGetsTheCache(t *testing.T) {
	config := Config{Binary: os.Args[0], ModelPath: modelFile(t), CacheDir: t.TempDir()}
	name := func(c Config) string {
		f, err := newCacheFolder(c.Key())
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Base(f.path)
	}
	before := name(config)
	quantised := config
	quantised.CacheTypeK = "q8_0"
	if name(quantised) == before {
		t.Error("other settings have the same cache")
	}
	moved := config
	moved.CacheDir = t.TempDir()
	if name(moved) != before {
		t.Error("the cache's own place is part of its name")
	}
	// The file may be replaced under an engine whose key is that of the old one.
	key := config.Key()
	if err := os.Chtimes(config.ModelPath, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	f, err := newCacheFolder(key)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(f.path) == before {
		t.Error("another file has the same cache")
	}
}
