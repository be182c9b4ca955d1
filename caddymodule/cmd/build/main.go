// Command build makes the product: Caddy with the plugins that xcaddy.json names, through xcaddy.
//
// xcaddy.json is xcaddy's own Builder struct, so everything xcaddy can do can be said there, and
// nothing else can: an unknown member is an error. Paths in it are relative to its folder.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/caddyserver/xcaddy"
)

func main() {
	output := flag.String("o", filepath.Join("bin", "caddy"), "the `file` to write")
	config := flag.String("config", "xcaddy.json", "the `file` that says what to build")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := build(ctx, *config, *output)
	stop()
	if err != nil {
		log.Fatalf("[FATAL] %v", err)
	}
}

// build writes to output the Caddy that config describes, or leaves the output that was there.
func build(ctx context.Context, config, output string) error {
	builder, err := readBuilder(config)
	if err != nil {
		return err
	}

	remove, err := hidePaths(&builder)
	if err != nil {
		return err
	}
	defer remove()

	// A running Caddy keeps its file, and an interrupted build leaves none that is half written.
	unfinished := output + ".new"
	defer os.Remove(unfinished)
	if err := builder.Build(ctx, unfinished); err != nil {
		return fmt.Errorf("building %s: %w", output, err)
	}
	return os.Rename(unfinished, output)
}

// hidePaths replaces the folders of replacements by links beside xcaddy's temporary folder, until remove is called. A program
// tells where its replacements were; so it tells the same wherever the checkout is, and nothing about whose it is.
//
// The temporary folder is where TMPDIR says, which xcaddy cannot be told otherwise, and on macOS not even so.
func hidePaths(builder *xcaddy.Builder) (remove func(), err error) {
	if runtime.GOOS != "linux" {
		return func() {}, nil
	}
	folder, err := os.MkdirTemp("", "caddy-build-")
	if err != nil {
		return nil, err
	}
	before, was := os.LookupEnv("TMPDIR")
	remove = func() {
		if was {
			os.Setenv("TMPDIR", before)
		} else {
			os.Unsetenv("TMPDIR")
		}
		os.RemoveAll(folder)
	}
	if err := os.Setenv("TMPDIR", folder); err != nil {
		remove()
		return nil, err
	}
	for i, replacement := range builder.Replacements {
		if path := string(replacement.New); filepath.IsAbs(path) {
			link := fmt.Sprintf("replacement%d", i)
			if err := os.Symlink(path, filepath.Join(folder, link)); err != nil {
				remove()
				return nil, err
			}
			builder.Replacements[i].New = xcaddy.ReplacementPath("../" + link)
		}
	}
	return remove, nil
}

func readBuilder(config string) (xcaddy.Builder, error) {
	file, err := os.Open(config)
	if err != nil {
		return xcaddy.Builder{}, err
	}
	defer file.Close()

	var builder xcaddy.Builder
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&builder); err != nil {
		return xcaddy.Builder{}, fmt.Errorf("reading %s: %w", config, err)
	}
	if decoder.More() {
		return xcaddy.Builder{}, fmt.Errorf("reading %s: more than one JSON value", config)
	}

	// xcaddy runs the go command in a temporary folder, where a relative path would lead elsewhere.
	root, err := filepath.Abs(filepath.Dir(config))
	if err != nil {
		return xcaddy.Builder{}, err
	}
	for i, replacement := range builder.Replacements {
		if path := string(replacement.New); isRelative(path) {
			builder.Replacements[i].New = xcaddy.ReplacementPath(filepath.Join(root, path))
		}
	}
	return builder, nil
}

// isRelative reports whether the right side of a replacement is a relative path and not a module, by the rule of go.mod.
func isRelative(path string) bool {
	return path == "." || path == ".." || strings.HasPrefix(path, "./") || strings.HasPrefix(path, "../")
}
