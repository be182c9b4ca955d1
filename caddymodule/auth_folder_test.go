package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/keys"
)

// Configurations are loaded one after the other: what waits for a pipe would keep the next one out, too.
func TestKeysAreReadFromFilesOnly(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "ann"), []byte(annsKey), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(folder, "ben")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	read := make(chan error, 1)
	go func() { read <- (&Auth{KeysFrom: folder, ring: new(keys.Ring)}).readFolder() }()
	select {
	case err := <-read:
		if err == nil || !strings.Contains(err.Error(), "ben is not a file") {
			t.Errorf("got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the pipe is waited for")
		if writer, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil {
			_ = writer.Close()
		}
		t.Error(<-read)
	}
}
