// Package scripts tests the shell scripts that users run.
package scripts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// checkout is a folder with one of the repository's scripts and nothing else of it.
type checkout struct {
	t   *testing.T
	dir string
	env []string // more of it
}

func newCheckout(t *testing.T, script string) *checkout {
	t.Helper()
	c := &checkout{t: t, dir: t.TempDir()}
	data, err := os.ReadFile(filepath.Join("..", script))
	if err != nil {
		t.Fatal(err)
	}
	c.write(script, string(data), 0o755)
	return c
}

func (c *checkout) write(name, text string, mode fs.FileMode) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *checkout) read(name string) string {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}

// run runs a script from another folder, with nothing in the environment that it may read.
func (c *checkout) run(stdin, script string, args ...string) (string, error) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(c.dir, script), args...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "TMPDIR=" + c.t.TempDir()}, c.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// withModels returns a checkout with three models.
func withModels(t *testing.T) *checkout {
	t.Helper()
	c := newCheckout(t, "select_model.sh")
	for _, name := range []string{
		"b.gguf", "a-Q8_0.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "mmproj-a.gguf", "notes.txt",
	} {
		c.write("models/"+name, "GGUF", 0o644)
	}
	return c
}

func TestSelectModelChangesItsLineOnly(t *testing.T) {
	const set = "LOCAL_MODEL_PATH=models/b.gguf\n"
	tests := []struct{ name, before, after string }{
		{"empty", "", set},
		{"appended", "A=1\n# LOCAL_MODEL_PATH=old\nB=2\n", "A=1\n# LOCAL_MODEL_PATH=old\nB=2\n" + set},
		{"in its place", "A='x y'\nLOCAL_MODEL_PATH=old.gguf\n\nB=\"q\" # c\n", "A='x y'\n" + set + "\nB=\"q\" # c\n"},
		{"no newline at the end", "A=1", "A=1\n" + set},
		{"no newline behind it", "LOCAL_MODEL_PATH=old", set},
		{"empty value", "LOCAL_MODEL_PATH=\nB=1\n", set + "B=1\n"},
		{"quoted", "LOCAL_MODEL_PATH=\"old one\"\n", "LOCAL_MODEL_PATH=\"models/b.gguf\"\n"},
		{"quoted otherwise", "LOCAL_MODEL_PATH='old'  # mine\n", "LOCAL_MODEL_PATH='models/b.gguf'  # mine\n"},
		{"export", "  export LOCAL_MODEL_PATH=old\n", "  export LOCAL_MODEL_PATH=models/b.gguf\n"},
		{"twice", "LOCAL_MODEL_PATH=1\nA=1\nLOCAL_MODEL_PATH=2\n", set + "A=1\n" + set},
		{"CRLF", "A=1\r\nLOCAL_MODEL_PATH=old\r\nB=2\r\n", "A=1\r\nLOCAL_MODEL_PATH=models/b.gguf\r\nB=2\r\n"},
		{"CRLF appended", "A=1\r\n", "A=1\r\nLOCAL_MODEL_PATH=models/b.gguf\r\n"},
		{"container", "LOCAL_MODEL_PATH=/models/old.gguf\n", "LOCAL_MODEL_PATH=/models/b.gguf\n"},
		{"like names", "XLOCAL_MODEL_PATH=1\nLOCAL_MODEL_PATHS=2\n", "XLOCAL_MODEL_PATH=1\nLOCAL_MODEL_PATHS=2\n" + set},
		{"odd bytes", "A=\xff\xfe\t\\n&\nK=a=b$c`d\n", "A=\xff\xfe\t\\n&\nK=a=b$c`d\n" + set},
		{"in another's value", "A=\"1\nLOCAL_MODEL_PATH=no\n2\"\nLOCAL_MODEL_PATH=old\n", "A=\"1\nLOCAL_MODEL_PATH=no\n2\"\n" + set},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := withModels(t)
			c.write(".env", tt.before, 0o640)
			for range 2 { // the second time changes nothing
				if out, err := c.run("", "select_model.sh", "b"); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if got := c.read(".env"); got != tt.after {
					t.Fatalf("got %q, want %q", got, tt.after)
				}
			}
			stat, err := os.Stat(filepath.Join(c.dir, ".env"))
			if err != nil || stat.Mode() != 0o640 {
				t.Errorf("got %v, %v", stat.Mode(), err)
			}
			c.checkTidy()
		})
	}
}

// checkTidy expects nothing in the checkout that was not there before.
func (c *checkout) checkTidy() {
	c.t.Helper()
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains([]string{".env", "bin", "models", "select_model.sh", "Caddyfile", "real"}, entry.Name()) {
			c.t.Errorf("left over: %s", entry.Name())
		}
	}
}

func TestSelectModelOffersAMenu(t *testing.T) {
	c := withModels(t)
	out, err := c.run("2\n", "select_model.sh")
	if err != nil || !strings.Contains(out, "1) a-Q8_0.gguf") || !strings.Contains(out, "3) big-00001-of-00002.gguf") || strings.Contains(out, "4)") {
		t.Fatalf("got %v, %s", err, out)
	}
	if got := c.read(".env"); got != "LOCAL_MODEL_PATH=models/b.gguf\n" {
		t.Errorf("got %q", got)
	}
	if stat, err := os.Stat(filepath.Join(c.dir, ".env")); err != nil || stat.Mode() != 0o600 {
		t.Errorf("a new .env has the mode %v, %v", stat.Mode(), err)
	}
	if out, err = c.run("2\n", "select_model.sh"); err != nil || !strings.Contains(out, "*  2) b.gguf") {
		t.Errorf("the present one is not marked: %v, %s", err, out)
	}
}

func TestSelectModelRefusesWhatIsNotThere(t *testing.T) {
	c := withModels(t)
	c.write("models/a model.gguf", "GGUF", 0o644)
	c.write("models/a$b.gguf", "GGUF", 0o644)
	c.write("models/\x1b[2J.gguf", "GGUF", 0o644)
	c.write(".env", "A=1\nLOCAL_MODEL_PATH=old\n", 0o600)
	for _, args := range [][]string{{"0"}, {"99"}, {"none"}, {""}, {"../x"}, {"a model"}, {"a$b"}, {"mmproj-a.gguf"}, {"\x1b[2J"}, {"a", "b"}, {}} {
		if out, err := c.run("", "select_model.sh", args...); err == nil {
			t.Errorf("%q: %s", args, out)
		}
		if got := c.read(".env"); got != "A=1\nLOCAL_MODEL_PATH=old\n" {
			t.Fatalf("%q: got %q", args, got)
		}
	}
	for _, answer := range []string{"", "\n", "x\n", "77\n"} {
		if out, err := c.run(answer, "select_model.sh"); err == nil {
			t.Errorf("%q: %s", answer, out)
		}
	}
	c.checkTidy()
	empty := newCheckout(t, "select_model.sh")
	if out, err := empty.run("", "select_model.sh"); err == nil || !strings.Contains(out, "download_models.sh") {
		t.Errorf("got %v, %s", err, out)
	}
}

func TestSelectModelRefusesWhatIsNoModel(t *testing.T) {
	c := withModels(t)
	c.write("models/page.gguf", "<html>Not found</html>", 0o644)
	c.write("models/nothing.gguf", "", 0o644)
	for _, name := range []string{"page", "nothing"} {
		if out, err := c.run("", "select_model.sh", name); err == nil || !strings.Contains(out, "models/"+name+".gguf is no GGUF file") {
			t.Errorf("%s: got %v, %s", name, err, out)
		}
	}
	c.checkTidy()
}

func TestSelectModelFollowsALink(t *testing.T) {
	c := withModels(t)
	c.write("real", "A=1\n", 0o600)
	if err := os.Symlink("real", filepath.Join(c.dir, ".env")); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run("", "select_model.sh", "models/b.gguf"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := c.read("real"); got != "A=1\nLOCAL_MODEL_PATH=models/b.gguf\n" {
		t.Errorf("got %q", got)
	}
	c.checkTidy()
}

func TestSelectModelSaysWhyAReloadFails(t *testing.T) {
	caddy := "#!/bin/sh\n[ \"$1\" != adapt ] || { %s; }\n[ \"$1\" != reload ] || { cat >/dev/null; %s; }\n"
	tests := []struct {
		name, adapt, reload, want string
		fails                     bool
	}{
		{"nobody there", "echo '{}'", "echo 'dial tcp 127.0.0.1:2019: connect: connection refused' >&2; exit 1", "no gateway is running", false},
		{"a mistake", "echo 'Caddyfile:3: what is this' >&2; exit 1", "exit 9", "Caddyfile:3: what is this", true},
		{"refused", "echo '{}'", "echo 'HTTP 400: no' >&2; exit 1", "HTTP 400: no", true},
		{"taken", "echo '{}'; echo warning >&2", ":", "uses it now", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := withModels(t)
			c.write("bin/caddy", fmt.Sprintf(caddy, tt.adapt, tt.reload), 0o755)
			out, err := c.run("", "select_model.sh", "b")
			if (err != nil) != tt.fails || !strings.Contains(out, tt.want) {
				t.Errorf("got %v, %s", err, out)
			}
			if got := c.read(".env"); got != "LOCAL_MODEL_PATH=models/b.gguf\n" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestSelectModelReloadsAGateway runs bin/caddy, which `make test` builds before.
func TestSelectModelReloadsAGateway(t *testing.T) {
	caddy, err := filepath.Abs("../bin/caddy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(caddy); err != nil {
		t.Skip("bin/caddy is not built")
	}
	c := withModels(t)
	c.write("bin/.keep", "", 0o644)
	if err := os.Symlink(caddy, filepath.Join(c.dir, "bin", "caddy")); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	c.write("Caddyfile", fmt.Sprintf("{\nadmin unix/%s/admin.sock\nauto_https off\n}\nhttp://%s {\nrespond \"{$LOCAL_MODEL_PATH:none} {$OTHER}\"\n}\n", t.TempDir(), address), 0o644)
	c.write(".env", "OTHER=kept\nLOCAL_MODEL_PATH=models/a-Q8_0.gguf\n", 0o600)

	gateway := exec.CommandContext(t.Context(), caddy, "run", "--config", "Caddyfile", "--envfile", ".env")
	gateway.Dir = c.dir
	gateway.Env = []string{"HOME=" + c.dir}
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = gateway.Process.Kill()
		_ = gateway.Wait()
	})
	await(t, "http://"+address, "models/a-Q8_0.gguf kept")
	if out, err := c.run("", "select_model.sh", "3"); err != nil || !strings.Contains(out, "uses it now") {
		t.Fatalf("got %v, %s", err, out)
	}
	await(t, "http://"+address, "models/big-00001-of-00002.gguf kept")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await waits until a URL answers with a text.
func await(t *testing.T, url, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got = string(body); got == want {
			return
		}
	}
	t.Fatalf("got %q, want %q", got, want)
}
