package caddymodule

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// opened are the methods and paths that Bytebot's pages use, and who is to answer them.
var opened = []struct{ method, path, by string }{
	{"GET", "/", "ui"},
	{"HEAD", "/", "ui"},
	{"GET", "/tasks", "ui"},
	{"GET", "/tasks/0b9f6a3e-1d2c-4f5a-8b7c-9d0e1f2a3b4c", "ui"},
	{"GET", "/desktop", "ui"},
	{"GET", "/_next/static/chunks/app/tasks/%5Bid%5D/page-1a2b.js", "ui"},
	{"GET", "/_next/image?url=%2Flogo.png&w=64&q=75", "ui"},
	{"GET", "/favicon.ico", "ui"},
	{"GET", "/bytebot_transparent_logo_dark.svg", "ui"},
	{"GET", "/api/tasks?page=1&limit=5", "agent"},
	{"GET", "/api/tasks/models", "the door"},
	{"GET", "/api/tasks/42", "agent"},
	{"GET", "/api/tasks/42/messages?limit=10&page=1", "agent"},
	{"GET", "/api/tasks/42/messages/raw", "agent"},
	{"GET", "/api/tasks/42/messages/processed", "agent"},
	{"POST", "/api/tasks", "agent"},
	{"POST", "/api/tasks/42/messages", "agent"},
	{"POST", "/api/tasks/42/takeover", "agent"},
	{"POST", "/api/tasks/42/resume", "agent"},
	{"POST", "/api/tasks/42/cancel", "agent"},
	{"DELETE", "/api/tasks/42", "agent"},
}

// closed are methods and paths that exist behind the door, or might, and that nobody reaches.
var closed = []struct{ method, path string }{
	{"POST", "/"},
	{"PUT", "/tasks"},
	{"OPTIONS", "/api/tasks"},
	{"PUT", "/api/tasks/42"},
	{"PATCH", "/api/tasks/42"},
	{"DELETE", "/api/tasks"},
	{"DELETE", "/api/tasks/42/messages"},
	{"POST", "/api/tasks/42"},
	{"POST", "/api/tasks/models"},
	{"GET", "/api/tasks/42/takeover"},
	{"GET", "/api"},
	{"GET", "/api/"},
	{"GET", "/api/other"},
	{"GET", "/api/proxy/tasks/"}, // without an upgrade
	{"POST", "/api/proxy/tasks/"},
	{"GET", "/api/proxy/websockify"},
	{"GET", "/api/proxy/other"},
	{"POST", "/computer-use"},
	{"POST", "/api/computer-use"},
	{"POST", "/input-tracking/start"},
	{"POST", "/input-tracking/stop"},
	{"GET", "/socket.io/"},
	{"GET", "/websockify"},
	{"GET", "/vnc"},
	{"GET", "/novnc/vnc.html"},
	{"GET", "/novnc/logo.png"},
	{"GET", "/mcp"},
	{"POST", "/mcp"},
	{"POST", "/messages"},
	{"GET", "/health"},
	{"GET", "/v1/models"},
	{"POST", "/v1/chat/completions"},
	{"GET", "/k/" + agentKey + "/v1/models"},
	{"GET", "/api/other%2f..%2ftasks"},
	{"GET", "/_next/..%2f..%2fapi%2fother"},
	{"GET", "/_next/%2e%2e/api/other"},
	{"GET", "//api/tasks"},
	{"GET", "/api/tasks/..;/other"},
	{"GET", "/api/tasks/42%00"},
	{"GET", `/api/tasks/..%5cother`},
	{"GET", "/tasks/42/other"},
}

// sockets are the websockets that Bytebot's pages open.
var sockets = []string{"/api/proxy/tasks/?EIO=4&transport=websocket", "/api/proxy/websockify"}

// caller is who stands before the door.
type caller struct {
	name    string
	login   bool
	origin  string // own, foreign, null, or none
	outcome int    // the status where nobody gets in, or 0 for who may
}

var callers = []caller{
	{"a stranger", false, "none", http.StatusUnauthorized},
	{"a stranger on the page", false, "own", http.StatusUnauthorized},
	{"a stranger on another site", false, "foreign", http.StatusForbidden},
	{"a user at the terminal", true, "none", 0},
	{"a user on the page", true, "own", 0},
	{"a user on another site", true, "foreign", http.StatusForbidden},
	{"a user in a sandbox", true, "null", http.StatusForbidden},
}

// dress gives a request what its caller has.
func (v caller) dress(h http.Header, own string) {
	if v.login {
		login := http.Request{Header: h}
		login.SetBasicAuth("admin", loginPassword)
	}
	switch v.origin {
	case "own":
		h.Set("Origin", own)
	case "foreign":
		h.Set("Origin", "https://evil.example")
	case "null":
		h.Set("Origin", "null")
	}
	// Nobody says who they are but by logging in.
	for _, name := range []string{"X-Forwarded-User", "Remote-User", "X-Auth-Request-Email", "X-Webauth-User", "X-User-Id", "X-Remote-User", "Forwarded"} {
		h.Set(name, "root")
	}
}

// bytebotDoors are the addresses of Bytebot's pages.
func (d *door) bytebotDoors() []string {
	return []string{
		d.url("https", "bytebot.localhost", "HTTPS_PORT"),
		d.url("http", "localhost", "BYTEBOT_UI_PORT"),
		d.url("http", "127.0.0.1", "BYTEBOT_UI_PORT"),
	}
}

func TestExactlyWhatBytebotsPagesUseIsReachableAndOnlyWithALogin(t *testing.T) {
	d := openDoor(t)
	for _, site := range d.bytebotDoors() {
		speaks := protocols
		if strings.HasPrefix(site, "http:") {
			speaks = protocols[:1]
		}
		for _, protocol := range speaks {
			client := d.client(protocol, "bytebot.localhost", "")
			for _, v := range callers {
				name := site[:strings.LastIndexByte(site, ':')] + " " + protocol + " " + v.name
				d.reached()
				for _, cell := range opened {
					status := d.visit(t, client, v, cell.method, site, cell.path)
					want := v.outcome
					if want == 0 {
						want = http.StatusOK
					}
					var by []string
					if v.outcome == 0 && cell.by != "the door" {
						by = append(by, "ui "+cell.method+" "+cell.path)
					}
					if v.outcome == 0 && cell.by == "agent" {
						by = append([]string{"agent " + cell.method + " " + strings.TrimPrefix(cell.path, "/api")}, by...)
					}
					if reached := d.reached(); status != want || !slices.Equal(reached, by) {
						t.Errorf("%s: %s %s: got %d, reached %q; want %d, %q", name, cell.method, cell.path, status, reached, want, by)
					}
				}
				for _, cell := range closed {
					status := d.visit(t, client, v, cell.method, site, cell.path)
					want := v.outcome
					if want == 0 {
						want = http.StatusNotFound
					}
					if reached := d.reached(); status != want || len(reached) > 0 {
						t.Errorf("%s: %s %s: got %d, reached %q; want %d and nobody", name, cell.method, cell.path, status, reached, want)
					}
				}
			}
		}
	}
	d.database.mu.Lock()
	defer d.database.mu.Unlock()
	if d.database.calls > 0 {
		t.Error("something called the database")
	}
}

// visit sends a request and returns the answer's status. It checks what every answer and every request behind the door
// has to be like.
func (d *door) visit(t *testing.T, client *http.Client, v caller, method, site, path string) int {
	t.Helper()
	var body strings.Reader
	if method == http.MethodPost {
		body.Reset(`{"description":"x"}`)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, site+path, &body)
	if err != nil {
		// What cannot be written as a URL is sent as it is.
		req, err = http.NewRequestWithContext(t.Context(), method, site, &body)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = path
	}
	v.dress(req.Header, site)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	_ = resp.Body.Close()
	if resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%s %s: pages of other sites may read the answer", method, path)
	}
	d.checkIdentity(t)
	if resp.StatusCode == http.StatusOK {
		if got := resp.Header.Get("Strict-Transport-Security") != ""; got != strings.HasPrefix(site, "https:") {
			t.Errorf("%s%s: Strict-Transport-Security: got %t", site, path, got)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "same-origin"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s %s: %s: got %q, want %q", method, path, name, got, want)
			}
		}
	}
	return resp.StatusCode
}

// checkIdentity checks that nobody behind the door was told who somebody claims to be.
func (d *door) checkIdentity(t *testing.T) {
	t.Helper()
	for _, s := range d.standIns() {
		s.mu.Lock()
		for _, r := range s.requests {
			for name, values := range r.Header {
				if strings.Contains(strings.Join(values, " "), "root") || name == "Authorization" {
					t.Errorf("%s %s has %s", s.name, r.RequestURI, name)
				}
			}
		}
		s.mu.Unlock()
	}
}

func TestWebsocketsOpenForTheOwnPagesOfAUserOnly(t *testing.T) {
	d := openDoor(t)
	for _, site := range d.bytebotDoors() {
		client := d.client("HTTP/1.1", "bytebot.localhost", "")
		for _, v := range callers {
			d.reached()
			for _, path := range append(slices.Clone(sockets), "/", "/socket.io/", "/websockify", "/api/proxy/other", "/api/tasks") {
				want := v.outcome
				switch {
				case want != 0:
				case v.origin == "none": // browsers always say
					want = http.StatusForbidden
				case slices.Contains(sockets, path):
					want = http.StatusSwitchingProtocols
				default:
					want = http.StatusNotFound
				}
				if v.origin == "none" && !v.login {
					want = http.StatusForbidden
				}
				header := make(http.Header)
				v.dress(header, site)
				status := d.dial(t, client, site+path, header)
				if status != want {
					t.Errorf("%s: %s: %s: got %d, want %d", v.name, site, path, status, want)
				}
				if reached := d.reached(); want != http.StatusSwitchingProtocols && len(reached) > 0 {
					t.Errorf("%s: %s: %s reached %q", v.name, site, path, reached)
				}
			}
		}
	}
}

// HTTP/2 and HTTP/3 have a way of their own to open websockets (RFC 8441, RFC 9220). It opens nothing here; browsers then take
// HTTP/1.1.
func TestWebsocketsOpenOverHTTP1Only(t *testing.T) {
	d := openDoor(t)
	site := d.url("https", "bytebot.localhost", "HTTPS_PORT")
	client := d.client("HTTP/3.0", "bytebot.localhost", "")
	for _, v := range callers {
		for _, path := range sockets {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, site+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Proto = "websocket"
			v.dress(req.Header, site)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			want := v.outcome
			if want == 0 {
				want = http.StatusNotFound
			}
			if resp.StatusCode != want {
				t.Errorf("%s: %s: got %d, want %d", v.name, path, resp.StatusCode, want)
			}
		}
	}
	if reached := d.reached(); len(reached) > 0 {
		t.Errorf("reached %q", reached)
	}
	// Over HTTP/2 the server does not even offer it, and the client knows.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, site+sockets[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header[":protocol"] = []string{"websocket"}
	if resp, err := d.client("HTTP/2.0", "bytebot.localhost", "").Do(req); err == nil {
		_ = resp.Body.Close()
		t.Errorf("HTTP/2: got %d", resp.StatusCode)
	}
}

// dial opens a websocket, sends something through it and returns the answer's status.
func (d *door) dial(t *testing.T, client *http.Client, url string, header http.Header) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http"), &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: header, Subprotocols: []string{"binary"},
	})
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageBinary, []byte("RFB")); err != nil {
		t.Errorf("%s: %v", url, err)
	}
	if _, echo, err := conn.Read(ctx); err != nil || string(echo) != "RFB" {
		t.Errorf("%s: got %q, %v", url, echo, err)
	}
	return resp.StatusCode
}
