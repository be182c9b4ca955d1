package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FindServer returns the path of llama-server. The first that holds: the configured one, the environment variable
// LLAMA_SERVER, llama-server on PATH, and the newest build in the user's cache folder.
func FindServer(configured string) (string, error) {
	if configured != "" {
		return executable(configured, "the configured llama-server")
	}
	if path := os.Getenv("LLAMA_SERVER"); path != "" {
		return executable(path, "LLAMA_SERVER")
	}
	if path, err := exec.LookPath("llama-server"); err == nil {
		return filepath.Abs(path)
	}
	if cache, err := os.UserCacheDir(); err == nil {
		builds, _ := filepath.Glob(filepath.Join(cache, "llmgateway", "llama.cpp", "*", "llama-server"))
		slices.SortFunc(builds, func(a, b string) int { return compareVersions(version(b), version(a)) })
		for _, path := range builds {
			if path, err := executable(path, ""); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("llama-server was not found: run `make llama-server`, or set LLAMA_SERVER to its path")
}

// VersionCommand returns the command that makes a llama-server print its version. It runs as a server does.
func VersionCommand(ctx context.Context, path string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = serverEnvironment(os.Environ())
	cmd.WaitDelay = time.Second
	return cmd
}

func executable(path, what string) (string, error) {
	found, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("%s cannot be run: %w", what, err)
	}
	return filepath.Abs(found)
}

func version(path string) string { return filepath.Base(filepath.Dir(path)) }

// compareVersions orders v0.10.0 after v0.9.0.
func compareVersions(a, b string) int {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	}
	return slices.CompareFunc(split(a), split(b), func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
}
