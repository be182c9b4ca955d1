package local

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gateway is another process that has an engine.
type gateway struct {
	*exec.Cmd
	input  io.Closer
	child  int
	socket string
}

func startGateway(t *testing.T, args ...string) *gateway {
	t.Helper()
	g := &gateway{Cmd: exec.Command(os.Args[0], append([]string{"--gateway"}, args...)...)}
	g.Stderr = t.Output()
	var err error
	if g.input, err = g.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := g.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Process.Kill()
		_ = g.Wait()
	})
	if _, err := fmt.Fscan(out, &g.child, &g.socket); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestChildDiesWithTheGateway(t *testing.T) {
	noLeaks(t)
	g := startGateway(t, os.Args[0], modelFile(t), "--fake", "--stubborn")
	if err := g.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = g.Wait()
	eventually(t, "the child's end", func() bool { return !alive(g.child) })

	// Nobody could remove the socket. The next gateway does.
	if _, err := os.Stat(g.socket); err != nil {
		t.Fatalf("expected a socket that was left: %v", err)
	}
	acquire(t, engine(t, nil))
	if _, err := os.Stat(filepath.Dir(g.socket)); err == nil {
		t.Error("the dead gateway's folder is still there")
	}
}

// TestExitLeavesNothing exits right after letting go of the engine, as Caddy does.
func TestExitLeavesNothing(t *testing.T) {
	noLeaks(t)
	g := startGateway(t, os.Args[0], modelFile(t), "--fake", "--stubborn")
	_ = g.input.Close()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child's end", func() bool { return !alive(g.child) })
	if _, err := os.Stat(filepath.Dir(g.socket)); err == nil {
		t.Error("the folder for sockets is still there")
	}
}

// alive reports whether a process runs. A zombie, which waits for whoever inherited it, does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestFoldersInUseAreKept(t *testing.T) {
	base := t.TempDir()
	other := filepath.Join(base, runDirPrefix+"other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := lockDir(other)
	if err != nil {
		t.Fatal(err)
	}
	removeStale(base)
	if _, err := os.Stat(other); err != nil {
		t.Errorf("in use: %v", err)
	}
	_ = lock.Close()

	// A folder of the user's that is named like one.
	notes := filepath.Join(base, runDirPrefix+"notes", "a.txt")
	if err := os.Mkdir(filepath.Dir(notes), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// What a gateway leaves that was killed.
	t.Chdir(other) // a socket's path is short
	listener, err := net.Listen("unix", "1.sock")
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = listener.Close()

	removeStale(base)
	if _, err := os.Stat(other); err == nil {
		t.Error("a stale folder is kept")
	}
	if _, err := os.Stat(notes); err != nil {
		t.Errorf("not a gateway's: %v", err)
	}
}

func TestSocketPathsAreShortAndPrivate(t *testing.T) {
	noLeaks(t)
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 80))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := baseDir(long, "/nowhere", "relative", "/tmp/"); got != "/tmp" {
		t.Errorf("got %s, want /tmp", got)
	}
	var d runDir
	a, err := d.reserve()
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.reserve()
	if err != nil {
		t.Fatal(err)
	}
	if a == b || len(a) > maxSocketPath || !strings.HasSuffix(a, ".sock") {
		t.Errorf("got %s and %s", a, b)
	}
	info, err := os.Stat(filepath.Dir(a))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: got %v, %v, want mode 0700", info, err)
	}
	d.release(a)
	d.release(a)
	d.release(b)
}

// TestRemainsOfAWrapperAreKilled uses a script that does not replace itself by the server.
func TestRemainsOfAWrapperAreKilled(t *testing.T) {
	wrapper := filepath.Join(t.TempDir(), "llama-server")
	script := "#!/bin/sh\n" + os.Args[0] + " \"$@\"\ntrue\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	e := engine(t, func(c *Config) { c.Binary = wrapper }, "--stubborn")
	e.timing.patience = 50 * time.Millisecond
	acquire(t, e)
	shell := pid(e)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", shell, shell))
	if err != nil {
		t.Fatal(err)
	}
	var server int
	if _, err := fmt.Sscan(string(data), &server); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(shell, syscall.SIGKILL)
	eventually(t, "the server's end", func() bool { return !alive(server) })
	eventually(t, "another shell", func() bool { return pid(e) != shell && e.Status().State.Live() })
}
