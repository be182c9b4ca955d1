package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/keys"
)

// TestKeysOfATeamOpen makes keys as README_compose.md says, and reads them as llm_auth does.
func TestKeysOfATeamOpen(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	text, err := os.ReadFile(filepath.Join(root, "README_compose.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## A team\n")
	dir := t.TempDir()
	folder := filepath.Join(dir, "keys")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", "umask 077\n"+blocks(section)[0].text)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ring := new(keys.Ring)
	for client, models := range map[string][]string{"ann": nil, "reports": {"auto"}} {
		path := filepath.Join(folder, client)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
			t.Fatalf("the container cannot read %s: %v, %v", client, info, err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.AddFile(client, string(file)); err != nil {
			t.Fatalf("%s: %v", client, err)
		}
		grant, err := ring.Find(strings.Fields(string(file))[0], time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
		if err != nil || grant.Client != client || !slices.Equal(grant.Models, models) || grant.Expires.IsZero() != (models == nil) {
			t.Errorf("%s: got %v, %v", client, grant, err)
		}
	}
}
