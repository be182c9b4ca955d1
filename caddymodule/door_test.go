package caddymodule

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/bcrypt"
)

// What a deployment's secrets are in these tests: each can be found wherever it should not be.
const (
	ownerKey      = "owner-key-7c1d9e44a0b35f82"
	guestKey      = "guest-key-58f0a1c26d97be31"
	agentKey      = "agent-key-e3b27f9054d81c6a"
	loginPassword = "password-90d2c4e1f7a8b653"
	providerKey   = "provider-key-4a6f8b1d2c3e5079"
)

// desktopAddress is where the desktop's own browser calls from.
const desktopAddress = "127.0.0.9"

// door is the repository's own Caddyfile, all of its sites switched on, in a process of its own, between stand-ins for
// Bytebot's services.
type door struct {
	*gateway
	ui, agent, desktop *standIn
	database           *listener
	ports              map[string]string // by the variables that set them
	roots              *x509.CertPool
	output             *lockedBuffer
	env                []string
}

// openDoor starts a door. It ends with the test.
func openDoor(t *testing.T, env ...string) *door {
	t.Helper()
	d := &door{gateway: newGateway(t), ports: map[string]string{}, roots: x509.NewCertPool(), database: listen(t)}
	for _, variable := range []string{"HTTP_PORT", "HTTPS_PORT", "LLM_PORT", "LLM_API_PORT", "LLM_AGENT_PORT", "DESK_PORT", "BYTEBOT_UI_PORT"} {
		_, d.ports[variable], _ = net.SplitHostPort(freeAddress(t))
		d.env = append(d.env, variable+"="+d.ports[variable])
	}
	d.desktop = newStandIn(t, "desktop", nil)
	d.agent = newStandIn(t, "agent", nil)
	// Bytebot's UI server is a proxy to the agent and, for the screen, to the address that it is told.
	screen := "127.0.0.1:" + d.ports["DESK_PORT"]
	d.ui = newStandIn(t, "ui", func(path string) (host, rest string) {
		switch {
		case path == "/api/proxy/websockify":
			return screen, "/websockify"
		case strings.HasPrefix(path, "/api/proxy/tasks/"):
			return d.agent.host, "/socket.io/"
		case strings.HasPrefix(path, "/api/"):
			return d.agent.host, strings.TrimPrefix(path, "/api")
		}
		return "", ""
	})
	hash, err := bcrypt.GenerateFromPassword([]byte(loginPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	keysFolder := filepath.Join(d.dir, "keys")
	if err := os.Mkdir(keysFolder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keysFolder, "guest"), []byte("# lent\n"+guestKey+" models=auto\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.env = append(d.env, "LLM_SITES=bytebot", "LLM_BIND=127.0.0.1", "DESK_SUBNET="+desktopAddress+"/32",
		"BYTEBOT_UI="+d.ui.host, "BYTEBOT_DESKTOP="+d.desktop.host, "BYTEBOT_PASSWORD_HASH="+string(hash),
		"DATABASE_URL=postgres://postgres:postgres@"+d.database.address+"/bytebotdb",
		"LLM_KEY="+ownerKey, "LLM_KEYS_DIR="+keysFolder, "LLM_AGENT_KEY="+agentKey)
	d.env = append(d.env, env...)
	d.output = runRepository(t, d.gateway, d.env...)

	authority := filepath.Join(d.dir, "caddy", "pki", "authorities", "local", "root.crt")
	wait(t, "the door's certificates", func() bool {
		pem, err := os.ReadFile(authority)
		return err == nil && d.roots.AppendCertsFromPEM(pem)
	})
	for _, host := range []string{"api.localhost", "bytebot.localhost"} {
		client := d.client("HTTP/1.1", host, "")
		wait(t, "certificate for "+host, func() bool {
			resp, err := client.Get(d.url("https", host, "HTTPS_PORT") + "/")
			if err == nil {
				_ = resp.Body.Close()
			}
			return err == nil
		})
	}
	return d
}

// wait polls a condition for as long as a whole deployment may take to start on a machine that has much else to do.
func wait(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if !eventually(2*time.Minute, condition) {
		t.Fatalf("no %s after 2 minutes", what)
	}
}

// url returns the beginning of the URLs of a site.
func (d *door) url(scheme, host, port string) string {
	return scheme + "://" + net.JoinHostPort(host, d.ports[port])
}

// client returns a client that speaks one protocol and calls from an address, if one is given. It takes every name for
// this machine.
func (d *door) client(protocol, host, from string) *http.Client {
	config := &tls.Config{RootCAs: d.roots, ServerName: host, MinVersion: tls.VersionTLS12}
	client := &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if protocol == "HTTP/3.0" {
		transport := &h3{address: "127.0.0.1:" + d.ports["HTTPS_PORT"], config: config}
		d.t.Cleanup(transport.CloseIdleConnections)
		client.Transport = transport
		return client
	}
	dialer := new(net.Dialer)
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	transport := &http.Transport{
		TLSClientConfig: config,
		Protocols:       new(http.Protocols),
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			return dialer.DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}
	transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
	transport.Protocols.SetHTTP2(protocol == "HTTP/2.0")
	d.t.Cleanup(transport.CloseIdleConnections)
	client.Transport = transport
	return client
}

// standIns returns all of them.
func (d *door) standIns() []*standIn { return []*standIn{d.ui, d.agent, d.desktop} }

// reached returns what the stand-ins were asked since the last call, as "ui GET /tasks", in the order of their names.
func (d *door) reached() []string {
	var all []string
	for _, s := range d.standIns() {
		s.mu.Lock()
		for _, r := range s.requests {
			all = append(all, s.name+" "+r.Method+" "+r.RequestURI)
		}
		s.requests = nil
		s.mu.Unlock()
	}
	slices.Sort(all)
	return all
}

// standIn is a server in the place of one of Bytebot's services. It answers everything, remembers what it was asked, and
// echoes what it gets over websockets.
type standIn struct {
	name string
	host string

	mu       sync.Mutex // guards requests
	requests []*http.Request
}

// newStandIn starts a stand-in. forward says which requests it hands on, and where to.
func newStandIn(t *testing.T, name string, forward func(path string) (host, rest string)) *standIn {
	t.Helper()
	s := &standIn{name: name}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			host, rest := forward(r.In.URL.Path)
			r.Out.URL = &url.URL{Scheme: "http", Host: host, Path: rest, RawQuery: r.In.URL.RawQuery}
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Clone(context.Background()))
		s.mu.Unlock()
		if forward != nil {
			if host, _ := forward(r.URL.Path); host != "" {
				proxy.ServeHTTP(w, r)
				return
			}
		}
		s.answer(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.host = server.Listener.Addr().String()
	return s
}

func (s *standIn) answer(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		w.Header().Set("Access-Control-Allow-Origin", "*") // as Bytebot's services do
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, "<!doctype html><title>", s.name, "</title>")
		if r.URL.Path == "/" {
			_, _ = fmt.Fprint(w, "<script>", page, "</script>")
		}
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// page is what Bytebot's pages do as far as the door can tell: they open two websockets, and talk over them.
const page = `
	const events = new WebSocket(location.origin.replace(/^http/, "ws") + "/api/proxy/tasks/?EIO=4&transport=websocket");
	const screen = new WebSocket(location.origin.replace(/^http/, "ws") + "/api/proxy/websockify", "binary");
	function echo(socket, text) {
		return new Promise((resolve, reject) => {
			if (socket.readyState > WebSocket.OPEN) reject("closed");
			socket.onmessage = event => resolve(event.data);
			socket.onclose = () => reject("closed");
			socket.onerror = () => reject("failed");
			if (socket.readyState == WebSocket.OPEN) socket.send(text);
			else socket.onopen = () => socket.send(text);
		});
	}`

// listener is a server in the place of the database, which nobody should call.
type listener struct {
	address string

	mu    sync.Mutex // guards calls
	calls int
}

func listen(t *testing.T) *listener {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	l := &listener{address: server.Addr().String()}
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			l.mu.Lock()
			l.calls++
			l.mu.Unlock()
		}
	}()
	return l
}
