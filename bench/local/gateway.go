package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// gateway is a running Caddy with one local model, and the two ways to ask it.
type gateway struct {
	cmd     *exec.Cmd
	exited  chan struct{} // closed when it has ended
	clients [2]*client    // direct, gateway
}

// client sends requests to one address.
type client struct {
	name string
	url  string
	http *http.Client
}

const caddyfile = `{
	admin off
	auto_https off
	persist_config off
	storage file_system %[1]q
	log {
		level ERROR
	}
	servers {
		protocols h1
	}
}
http://%[2]s {
	llm_health /health
	llm {
		provider local llamacpp %[3]q {
			n_ctx 1024
			n_parallel 8
			preload
		}
		model m {
			to local
		}
		stream_idle_timeout 2m
		timeout 10m
	}
}
`

// build compiles Caddy as it is in the checkout.
func build(ctx context.Context, work string) (string, error) {
	program := filepath.Join(work, "caddy")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/bytebot-llmgateway/bytebot-llmgateway/caddymodule/cmd/caddy")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building caddy: %w", err)
	}
	return program, nil
}

// start starts Caddy and returns when the model is loaded.
func start(ctx context.Context, program, model, work string) (*gateway, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	config := filepath.Join(work, "Caddyfile")
	if err := os.WriteFile(config, fmt.Appendf(nil, caddyfile, work, address, model), 0o600); err != nil {
		return nil, err
	}
	var output bytes.Buffer
	g := &gateway{exited: make(chan struct{})}
	g.cmd = exec.Command(program, "run", "--config", config, "--adapter", "caddyfile")
	g.cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+work, "XDG_DATA_HOME="+work, "XDG_CONFIG_HOME="+work)
	g.cmd.Stdout, g.cmd.Stderr = &output, &output
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting caddy: %w", err)
	}
	go func() {
		_ = g.cmd.Wait()
		close(g.exited)
	}()
	gatewayClient := newClient("gateway", "http://"+address, nil)
	socket, err := g.ready(ctx, gatewayClient, work)
	if err != nil {
		g.stop()
		return nil, fmt.Errorf("starting caddy: %w\n%s", err, &output)
	}
	g.clients = [2]*client{newClient("direct", "http://llama", func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}), gatewayClient}
	return g, nil
}

func newClient(name, url string, dial func(context.Context, string, string) (net.Conn, error)) *client {
	transport := &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 8,
		// llama-server may close a kept connection just when it is used again.
		DisableKeepAlives: dial != nil,
	}
	return &client{name, url, &http.Client{Transport: transport, Timeout: 10 * time.Minute}}
}

// ready waits until a question is answered, and returns the socket of the llama-server that did.
func (g *gateway) ready(ctx context.Context, c *client, work string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		_, err := c.ask(ctx, request("hello", 1))
		if err == nil {
			sockets, _ := filepath.Glob(filepath.Join(work, "llmgateway-*", "*.sock"))
			if len(sockets) != 1 {
				return "", fmt.Errorf("there are %d sockets, not 1", len(sockets))
			}
			return sockets[0], nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-g.exited:
			return "", errors.New("it ended")
		case <-ctx.Done():
			return "", err
		}
	}
}

// stop ends Caddy and waits for it.
func (g *gateway) stop() {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exited:
	case <-time.After(20 * time.Second):
		_ = g.cmd.Process.Kill()
		<-g.exited
	}
}
