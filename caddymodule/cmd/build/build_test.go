package main

import (
	"bytes"
	"debug/buildinfo"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/xcaddy"
)

const (
	root   = "../../.."
	module = "github.com/bytebot-llmgateway/bytebot-llmgateway"
)

// TestBothBuildsAreTheSameProgram keeps cmd/caddy and go.mod in step with xcaddy.json: the same modules at the same versions,
// and the same Caddy modules registered, whichever way the program is built.
func TestBothBuildsAreTheSameProgram(t *testing.T) {
	readSources(t)
	folder := t.TempDir()

	throughXcaddy := filepath.Join(folder, "xcaddy")
	if err := build(t.Context(), filepath.Join(root, "xcaddy.json"), throughXcaddy); err != nil {
		t.Fatal(err)
	}

	t.Run("wherever the checkout is", func(t *testing.T) { buildsTheSameElsewhere(t, throughXcaddy) })

	// What xcaddy passes by itself; the cache then serves both builds.
	plain := filepath.Join(folder, "plain")
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-w -s", "-tags", "nobadger,nomysql,nopgx",
		"-o", plain, "./caddymodule/cmd/caddy")
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	for _, list := range []struct {
		name string
		of   func(t *testing.T, binary string) []string
	}{
		{"Go modules", goModules},
		{"Caddy modules", caddyModules},
	} {
		got, want := list.of(t, throughXcaddy), list.of(t, plain)
		for _, line := range got {
			if !slices.Contains(want, line) {
				t.Errorf("%s: only in the build through xcaddy: %s", list.name, line)
			}
		}
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("%s: only in the plain build: %s", list.name, line)
			}
		}
	}
}

// buildsTheSameElsewhere checks that neither the folder of the checkout nor what the module proxy says that day is in the program.
func buildsTheSameElsewhere(t *testing.T, program string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere it is not")
	}
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	elsewhere, output := filepath.Join(folder, "ann's checkout"), filepath.Join(folder, "caddy")
	if err := os.Symlink(checkout, elsewhere); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOPROXY", "off") // the first build has fetched what it takes
	if err := build(t.Context(), filepath.Join(elsewhere, "xcaddy.json"), output); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || bytes.Contains(got, []byte("ann's checkout")) {
		t.Error("the program depends on where its sources are")
	}
}

// readSources opens every folder that a build reads, so that `go test` runs this test again when a source changes:
// it sees what a test reads, not what the commands of a test read.
func readSources(t *testing.T) {
	t.Helper()
	for _, folder := range []string{"llmgateway", "caddymodule"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum", "plugin.go"} {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Fatal(err)
		}
	}
}

// goModules lists the Go modules a binary was linked from. The module under test is left out: it is the main module of one
// build and a replaced requirement of the other.
func goModules(t *testing.T, binary string) []string {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, dependency := range info.Deps {
		if dependency.Path != module {
			modules = append(modules, dependency.Path+" "+dependency.Version+" "+dependency.Sum)
		}
	}
	return modules
}

// caddyModules lists the Caddy modules that are registered in a binary.
func caddyModules(t *testing.T, binary string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	// Below the list come counts, and headings that depend on which module is the main one.
	return slices.DeleteFunc(lines, func(line string) bool {
		return line == "" || strings.HasPrefix(line, " ")
	})
}

func TestReadBuilder(t *testing.T) {
	folder := t.TempDir()
	for _, test := range []struct {
		name, json, wantErr string
		want                xcaddy.ReplacementPath
	}{
		{name: "makes a relative replacement absolute", json: `{"replacements":[{"old":"a.b/c","new":"."}]}`, want: xcaddy.ReplacementPath(folder)},
		{name: "resolves a parent folder", json: `{"replacements":[{"old":"a.b/c","new":"../x"}]}`, want: xcaddy.ReplacementPath(filepath.Join(filepath.Dir(folder), "x"))},
		{name: "keeps an absolute replacement", json: `{"replacements":[{"old":"a.b/c","new":"/x"}]}`, want: "/x"},
		{name: "keeps a module", json: `{"replacements":[{"old":"a.b/c","new":"d.e/f v1.0.0"}]}`, want: "d.e/f v1.0.0"},
		{name: "refuses an unknown member", json: `{"plugin":[]}`, wantErr: `unknown field "plugin"`},
		{name: "refuses a second value", json: `{} {}`, wantErr: "more than one JSON value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := filepath.Join(folder, "xcaddy.json")
			if err := os.WriteFile(config, []byte(test.json), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readBuilder(config)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("got error %v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Replacements[0].New != test.want {
				t.Errorf("got %s, want %s", got.Replacements[0].New, test.want)
			}
		})
	}
}

// TestBuildKeepsTheOldOutput checks that a build that fails neither removes what was there nor leaves anything beside it.
func TestBuildKeepsTheOldOutput(t *testing.T) {
	folder := t.TempDir()
	config, output := filepath.Join(folder, "xcaddy.json"), filepath.Join(folder, "caddy")
	for path, content := range map[string]string{config: `{"caddy_version":"v2.not-a-version"}`, output: "old"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := build(t.Context(), config, output); err == nil {
		t.Fatal("got no error for a version that does not exist")
	}
	if got, err := os.ReadFile(output); err != nil || string(got) != "old" {
		t.Errorf("got %q, %v, want the old file", got, err)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 2 {
		t.Errorf("got %v, want nothing but the two files", entries)
	}
}
