package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// side is one of the two programs that are compared, and what it does.
type side struct {
	name    string
	program string
	sites   string
}

// caddy is a running Caddy.
type caddy struct {
	side   side
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	admin  string
	// open is the address of the site without, limited of the one with a first-token limit.
	open, limited string
}

// globalOptions are the same on both sides.
const globalOptions = `{
	admin %s
	auto_https off
	persist_config off
	storage file_system %q
	log {
		level ERROR
	}
	servers {
		protocols h1
	}
}
`

// The sites of a side: one for requests without a first-token limit and one for those with it, in front of an upstream.
const (
	proxySites = `
http://%[1]s, http://%[2]s {
	reverse_proxy %[3]s
}
`
	gatewaySites = `
(gateway) {
	llm {
		provider up openai http://%[3]s/v1
		model m {
			to up
		}
		stream_idle_timeout 20s
		timeout 10m
		{args[0]} {args[1]}
	}
}
` + importingSites

	// With cache, breaker and limits. The cache keeps each answer, and never has it, since the client sends no-cache.
	featuresSites = `
(gateway) {
	llm_limit {
		key everybody
		tokens 1000000m per 1h
		spend 1000000 USD per 1d
		parallel 10000
	}
	llm {
		provider up openai http://%[3]s/v1
		model m {
			to up {
				price 1 2
			}
		}
		fail_duration 30s
		max_fails 3
		max_fail_rate 50
		cache memory
		stream_idle_timeout 20s
		timeout 10m
		{args[0]} {args[1]}
	}
}
` + importingSites

	importingSites = `
http://%[1]s {
	import gateway lb_retries 0
}
http://%[2]s {
	import gateway first_token_timeout 30s
}
`
)

// startCaddy starts one side in front of the upstream and returns when it answers.
func startCaddy(ctx context.Context, s side, work, upstream string) (*caddy, error) {
	folder, err := os.MkdirTemp(work, "caddy-")
	if err != nil {
		return nil, err
	}
	c := &caddy{side: s, exited: make(chan struct{})}
	for _, address := range []*string{&c.admin, &c.open, &c.limited} {
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(folder, "Caddyfile")
	text := fmt.Sprintf(globalOptions, c.admin, folder) + fmt.Sprintf(s.sites, c.open, c.limited, upstream)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var output bytes.Buffer
	c.cmd = exec.Command(s.program, "run", "--config", config)
	c.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	c.cmd.Stdout, c.cmd.Stderr = &output, &output
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting caddy: %w", err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	if err := c.waitReady(ctx); err != nil {
		c.stop()
		return nil, fmt.Errorf("starting caddy with %s: %w\n%s", s.name, err, &output)
	}
	return c, nil
}

// freeAddress returns an address that nobody listens on.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func (c *caddy) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", c.limited)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.exited:
			return errors.New("it ended")
		case <-ctx.Done():
			return err
		}
	}
}

// stop ends the process and waits for it.
func (c *caddy) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(5 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}

// url returns where a shape's requests go.
func (c *caddy) url(s *shape) string {
	if s.limited {
		return "http://" + c.limited + "/v1/chat/completions"
	}
	return "http://" + c.open + "/v1/chat/completions"
}

// cpuTime returns the CPU time that the process has used. It adds up its threads, which the kernel counts in nanoseconds,
// where /proc/PID/stat has hundredths of a second; Go keeps its threads, so none is missing.
func (c *caddy) cpuTime() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", file, err)
		}
		sum += time.Duration(ns)
	}
	if sum == 0 {
		return 0, errors.New("the kernel does not tell the CPU time in /proc/PID/task/TID/schedstat")
	}
	return sum, nil
}

// memoryUse is resident memory in bytes.
type memoryUse struct{ idle, peak int64 }

// memory returns what the process holds now and has held at most.
func (c *caddy) memory() (m memoryUse, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		var to *int64
		switch {
		case strings.HasPrefix(line, "VmRSS:"):
			to = &m.idle
		case strings.HasPrefix(line, "VmHWM:"):
			to = &m.peak
		default:
			continue
		}
		if _, err := fmt.Sscanf(strings.Fields(line)[1], "%d", to); err != nil {
			return m, fmt.Errorf("reading %q: %w", line, err)
		}
		*to *= 1 << 10
	}
	return m, nil
}

// profile writes a profile of the next five seconds to a file. Kind is profile, for CPU time, or allocs.
func (c *caddy) profile(ctx context.Context, kind, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.admin+"/debug/pprof/"+kind+"?seconds=5", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: status %d", resp.StatusCode)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, resp.Body)
	return errors.Join(err, to.Close())
}
