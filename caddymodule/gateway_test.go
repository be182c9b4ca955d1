package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/mholt/caddy-ratelimit"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// TestMain makes this very program a Caddy, as caddymodule/cmd/caddy is one, for tests that need it in a process of its
// own, and a server for the provider command. Tests are called with flags only.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "openai-server" {
		openAIServer()
		return
	}
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}

// gateway is a Caddy with a site https://localhost that speaks HTTP/1.1, HTTP/2 and HTTP/3, on ports of its own. Its
// methods return errors where goroutines of a test use them.
type gateway struct {
	t       *testing.T
	address string // of the site
	admin   string // address of the admin API
	dir     string // a folder of this gateway, with a short path
	options string // further global options
	more    string // further sites
	env     []string
	cmd     *exec.Cmd     // nil if it runs in this process
	exited  chan struct{} // closed when the process has ended
	retry   bool          // clients repeat what failed before any byte of the answer
	retries atomic.Int64  // how often they did
	seen    int           // entries of the access log that a test has looked at
}

// newGateway returns a gateway that does not run yet. Its engines' sockets are in its folder.
func newGateway(t *testing.T) *gateway {
	t.Helper()
	dir, err := os.MkdirTemp("", "llm") //nolint:usetesting // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, address: freeAddress(t), admin: freeAddress(t), dir: dir}
	t.Cleanup(func() {
		if t.Failed() {
			g.printLog()
		}
		_ = os.RemoveAll(dir)
	})
	return g
}

// handedOut are the ports that tests have been given.
var handedOut sync.Map

// freeAddress returns an address on which nobody listens, neither TCP nor UDP, and that no test has been given before. It is
// not one of those that the system gives to clients.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(20000)
		if _, taken := handedOut.LoadOrStore(port, true); taken {
			continue
		}
		address := "127.0.0.1:" + strconv.Itoa(port)
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		defer tcp.Close()
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		defer udp.Close()
		return address
	}
	t.Fatal("there is no free port")
	return ""
}

// caddyfile returns a whole Caddyfile around the directives of the site.
func (g *gateway) caddyfile(site string) string {
	cert := certificate(g.t)
	_, port, _ := net.SplitHostPort(g.address)
	return fmt.Sprintf(`{
		admin %s
		persist_config off
		auto_https disable_redirects
		storage file_system %q
		log {
			output file %q {
				roll_disabled
			}
			format json
			level DEBUG
			exclude admin events http.auto_https tls
		}
		%s
	}
	https://localhost:%s {
		bind 127.0.0.1
		tls %q %q
		log
		%s
	}
	%s`, g.admin, filepath.Join(g.dir, "storage"), g.logFile(), g.options, port, cert.file, cert.keyFile, site, g.more)
}

func (g *gateway) logFile() string { return filepath.Join(g.dir, "caddy.log") }

// start starts the gateway in this process. It ends with the test.
func (g *gateway) start(site string) {
	g.t.Helper()
	g.t.Setenv("XDG_RUNTIME_DIR", g.dir)
	if err := caddy.Load(adapt(g.t, g.caddyfile(site)), true); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = caddy.Stop() })
}

// adapt returns the JSON for a Caddyfile.
func adapt(t *testing.T, text string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// reload replaces the running configuration through the admin API, whether it changes or not.
func (g *gateway) reload(site string) error {
	req, err := http.NewRequest(http.MethodPost, "http://"+g.admin+"/load", strings.NewReader(g.caddyfile(site)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	req.Close = true
	resp, err := adminClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reload: %s: %s", resp.Status, text)
	}
	return nil
}

// adminClient repeats what was not answered: the admin API too moves to another listener with each configuration.
var adminClient = &http.Client{
	Transport: &retrier{&http.Transport{DisableKeepAlives: true}, new(atomic.Int64)},
	Timeout:   time.Minute,
}

// spawn starts the gateway as a process of its own and waits until it answers. It is killed with the test at the latest.
func (g *gateway) spawn(site string) {
	g.t.Helper()
	file := filepath.Join(g.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(g.caddyfile(site)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.run("--config", file, "--adapter", "caddyfile")
}

// run runs Caddy as a process of its own and waits until it answers. It returns what Caddy prints.
func (g *gateway) run(args ...string) *lockedBuffer {
	g.t.Helper()
	output := new(lockedBuffer)
	g.cmd = exec.Command(os.Args[0], append([]string{"run"}, args...)...)
	g.cmd.Stdout, g.cmd.Stderr = output, output
	g.cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+g.dir, "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir)
	g.cmd.Env = append(g.cmd.Env, g.env...)
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	cmd := g.cmd
	g.exited = make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(g.exited)
	}()
	g.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		g.wait()
		if text := output.String(); strings.Contains(text, "DATA RACE") || g.t.Failed() {
			g.t.Errorf("Caddy printed:\n%s", text)
		}
	})
	g.configured()
	return output
}

// configured waits until all of a new process's configuration runs: its admin API does not tell of it before. Caddy's listeners
// are there earlier, and a TLS handshake then is a data race in Caddy, with the start of its tls app.
func (g *gateway) configured() {
	g.t.Helper()
	await(g.t, "Caddy's admin API", func() bool {
		resp, err := adminClient.Get("http://" + g.admin + "/config/apps")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return strings.HasPrefix(string(text), "{")
	})
}

// wait waits until the process has ended.
func (g *gateway) wait() {
	g.t.Helper()
	select {
	case <-g.exited:
	case <-time.After(20 * time.Second):
		g.t.Fatal("Caddy does not end")
	}
}

// pid returns the number of the gateway's process.
func (g *gateway) pid() int {
	if g.cmd != nil {
		return g.cmd.Process.Pid
	}
	return os.Getpid()
}

// servers returns the numbers of the gateway's llama-server processes.
func (g *gateway) servers() []int {
	var servers []int
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(g.pid()) + "/task/*/children")
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for child := range strings.FieldsSeq(string(children)) {
			// Until it is executed, a child is a copy of Caddy.
			command, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if pid, err := strconv.Atoi(child); err == nil && alive(pid) && bytes.Contains(command, []byte("--alias")) {
				servers = append(servers, pid)
			}
		}
	}
	return servers
}

// server waits until the gateway has exactly one llama-server, and returns its number.
func (g *gateway) server() int {
	g.t.Helper()
	var servers []int
	await(g.t, "one llama-server", func() bool {
		servers = g.servers()
		return len(servers) == 1
	})
	return servers[0]
}

// alive reports whether a process runs. One that ended and was not collected does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, state, ok := strings.Cut(string(stat), ") ")
	return err == nil && ok && state[0] != 'Z' && state[0] != 'X'
}

// pause stops a process until resume, or the end of the test.
func pause(t *testing.T, pid int) (resume func()) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume = sync.OnceFunc(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	t.Cleanup(resume)
	return resume
}

// logged returns the entries of the gateway's log that have the given message.
func (g *gateway) logged(message string) []map[string]any {
	var found []map[string]any
	text, _ := os.ReadFile(g.logFile())
	for line := range bytes.Lines(text) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil && entry["msg"] == message {
			found = append(found, entry)
		}
	}
	return found
}

// handled returns how many requests have ended.
func (g *gateway) handled() int { return len(g.logged("handled request")) }

// printLog shows the end of the log, without what is long.
func (g *gateway) printLog() {
	text, _ := os.ReadFile(g.logFile())
	lines := slices.Collect(strings.Lines(string(text)))
	for _, line := range lines[max(0, len(lines)-20):] {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil {
			delete(entry, "request")
			delete(entry, "resp_headers")
		}
		short, _ := json.Marshal(entry)
		g.t.Logf("log: %s", short)
	}
}

// request returns a request to the site.
func (g *gateway) request(ctx context.Context, body string) *http.Request {
	_, port, _ := net.SplitHostPort(g.address)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://localhost:"+port+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		panic(err) // the URL is always well formed
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

// await polls a condition.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if !eventually(20*time.Second, condition) {
		t.Fatalf("no %s after 20s", what)
	}
}

func eventually(within time.Duration, condition func() bool) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		if condition() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// lockedBuffer is a bytes.Buffer that may be read while it is written.
type lockedBuffer struct {
	mu     sync.Mutex // guards buffer
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
