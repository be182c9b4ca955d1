package llmgateway_test

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/bytebot-llmgateway/bytebot-llmgateway"

// TestCoreKnowsNoCaddy keeps the core usable from any Go program.
func TestCoreKnowsNoCaddy(t *testing.T) {
	for _, dependency := range goList(t, "{{.ImportPath}}", module+"/llmgateway/...") {
		for _, forbidden := range []string{"github.com/caddyserver/", "go.uber.org/zap", module + "/caddymodule"} {
			if strings.HasPrefix(dependency, forbidden) {
				t.Errorf("the core depends on %s", dependency)
			}
		}
	}
}

// TestRootPackageImportsTheStandardLibraryOnly keeps the package that third parties implement free of anything but Go.
func TestRootPackageImportsTheStandardLibraryOnly(t *testing.T) {
	for _, dependency := range goList(t, "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"/llmgateway") {
		if dependency != module+"/llmgateway" {
			t.Errorf("the root package depends on %s", dependency)
		}
	}
}

// goList lists what packages are built from, themselves included.
func goList(t *testing.T, format, packages string) []string {
	t.Helper()
	// Reading the folders makes `go test` run this again when a source changes; it does not see what `go list` reads.
	if err := filepath.WalkDir(".", func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", format, packages).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	if len(lines) == 0 {
		t.Fatal("go list printed nothing")
	}
	return lines
}
