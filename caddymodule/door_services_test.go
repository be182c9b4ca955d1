package caddymodule

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// call sends a request and returns the answer.
func (d *door) call(t *testing.T, client *http.Client, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// loaded waits until the door's model can answer.
func (d *door) loaded(t *testing.T) {
	t.Helper()
	client := d.client("HTTP/1.1", "localhost", "")
	wait(t, "a loaded model", func() bool {
		resp, err := client.Get(d.url("http", "localhost", "LLM_PORT") + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func TestModelsAnswerWhoHasAKeyForThem(t *testing.T) {
	starterModel(t)
	d := openDoor(t)
	d.loaded(t)
	rows := []struct {
		method, path, body string
		with, without      int
	}{
		{"GET", "/health/liveliness", "", 200, 200},
		{"GET", "/health", "", 200, 401},
		{"GET", "/v1/models", "", 200, 401},
		{"GET", "/model/info", "", 200, 401},
		{"POST", "/v1/chat/completions", chat("auto", "hello", false, `"max_tokens":2`), 200, 401},
		{"POST", "/v1/chat/completions", chat("nobody", "hello", false), 404, 401},
		{"GET", "/v1/elsewhere", "", 404, 401},
		{"GET", "/", "", 404, 401},
		{"GET", "/config/", "", 404, 401},
		{"POST", "/computer-use", "{}", 404, 401},
	}
	for _, site := range []struct {
		url, protocol, host, right string
		wrong                      []string
	}{
		{d.url("https", "api.localhost", "HTTPS_PORT"), "HTTP/1.1", "api.localhost", ownerKey, []string{agentKey, unknownKey}},
		{d.url("https", "api.localhost", "HTTPS_PORT"), "HTTP/2.0", "api.localhost", ownerKey, []string{agentKey}},
		{d.url("https", "api.localhost", "HTTPS_PORT"), "HTTP/3.0", "api.localhost", ownerKey, []string{agentKey}},
		{d.url("http", "localhost", "LLM_API_PORT"), "HTTP/1.1", "", ownerKey, []string{agentKey, "dummy-key-for-proxy"}},
		{d.url("http", "caddy", "LLM_AGENT_PORT"), "HTTP/1.1", "", agentKey, []string{ownerKey, "dummy-key-for-proxy"}},
	} {
		client := d.client(site.protocol, site.host, "")
		for _, row := range rows {
			paths := []string{"/k/" + site.right + row.path}
			for _, key := range site.wrong {
				paths = append(paths, "/k/"+key+row.path)
			}
			for i, path := range append(paths, row.path) {
				want := row.without
				if i == 0 || row.path == "/health" && site.url == d.url("http", "localhost", "LLM_API_PORT") {
					want = row.with
				}
				a := d.call(t, client, row.method, site.url+path, row.body, "Authorization", "Bearer dummy-key-for-proxy")
				if a.status != want {
					t.Errorf("%s %s %s%s: got %d %s, want %d", site.protocol, row.method, site.url, path, a.status, a.body, want)
				}
				if want >= 400 && gjson.Get(a.body, "error.message").Str == "" {
					t.Errorf("%s%s: no error object: %s", site.url, path, a.body)
				}
			}
		}
	}
	if reached := d.reached(); len(reached) > 0 {
		t.Errorf("reached %q", reached)
	}

	// Sixty requests a minute, whatever they are and whichever way they come.
	direct, secure := d.client("HTTP/1.1", "", ""), d.client("HTTP/2.0", "api.localhost", "")
	for i := range 61 {
		client, url := direct, d.url("http", "localhost", "LLM_API_PORT")
		if i%2 == 1 {
			client, url = secure, d.url("https", "api.localhost", "HTTPS_PORT")
		}
		a := d.call(t, client, "GET", url+"/v1/models", "", "X-Api-Key", guestKey)
		switch {
		case i < 60 && a.status != http.StatusOK:
			t.Fatalf("request %d: got %d %s", i+1, a.status, a.body)
		case i == 60 && (a.status != http.StatusTooManyRequests || gjson.Get(a.body, "error.code").Str != "rate_limit_exceeded" ||
			a.header.Get("Retry-After") == "" || a.header.Get("Content-Type") != "application/json"):
			t.Errorf("request 61: got %d %s, %v", a.status, a.body, a.header)
		}
	}
	if a := d.call(t, direct, "GET", d.url("http", "localhost", "LLM_API_PORT")+"/v1/models", "", "X-Api-Key", ownerKey); a.status != http.StatusOK {
		t.Errorf("another client's limit is reached too: %d", a.status)
	}
}

func TestTheDesktopIsReachedByTheServicesOnly(t *testing.T) {
	d := openDoor(t)
	client := d.client("HTTP/1.1", "", "")
	url := d.url("http", "caddy", "DESK_PORT")
	for _, row := range []struct {
		method, path, origin string
		status               int
	}{
		{"POST", "/computer-use", "", 200},
		{"POST", "/input-tracking/start", "", 200},
		{"POST", "/input-tracking/stop", "", 200},
		{"POST", "/computer-use", "http://localhost:9990", 404}, // a page
		{"POST", "/computer-use/", "", 404},
		{"GET", "/computer-use", "", 404},
		{"OPTIONS", "/computer-use", "", 404},
		{"GET", "/socket.io/?EIO=4&transport=polling", "", 404},
		{"POST", "/socket.io/?EIO=4&transport=polling", "", 404},
		{"GET", "/websockify", "", 404},
		{"GET", "/", "", 404},
		{"GET", "/vnc", "", 404},
		{"GET", "/novnc/vnc.html", "", 404},
		{"GET", "/mcp", "", 404},
		{"POST", "/mcp", "", 404},
		{"POST", "/messages", "", 404},
	} {
		header := []string{"Content-Type", "application/json"}
		if row.origin != "" {
			header = append(header, "Origin", row.origin)
		}
		a := d.call(t, client, row.method, url+row.path, "{}", header...)
		want := []string{"desktop " + row.method + " " + row.path}
		if row.status != http.StatusOK {
			want = nil
		}
		if reached := d.reached(); a.status != row.status || !slices.Equal(reached, want) {
			t.Errorf("%s %s: got %d, reached %q", row.method, row.path, a.status, reached)
		}
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: pages may read the answer", row.method, row.path)
		}
	}
	for path, status := range map[string]int{
		"/socket.io/?EIO=4&transport=websocket": http.StatusSwitchingProtocols,
		"/websockify":                           http.StatusSwitchingProtocols,
		"/computer-use":                         http.StatusNotFound,
		"/mcp":                                  http.StatusNotFound,
	} {
		if got := d.dial(t, client, url+path, nil); got != status {
			t.Errorf("%s: got %d", path, got)
		}
	}
	// The screen's websocket comes from a page through Bytebot's UI server; the agent's has no page.
	page := http.Header{"Origin": {"http://localhost:9992"}}
	if got := d.dial(t, client, url+"/websockify", page); got != http.StatusSwitchingProtocols {
		t.Errorf("got %d", got)
	}
	if got := d.dial(t, client, url+"/socket.io/?EIO=4&transport=websocket", page); got != http.StatusNotFound {
		t.Errorf("got %d", got)
	}
}

// The browser in the desktop opens what pages tell it to. No listener lets it any further, whatever it knows.
func TestTheDesktopReachesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8 to be loopback")
	}
	d := openDoor(t)
	for _, site := range []struct{ url, host string }{
		{d.url("https", "api.localhost", "HTTPS_PORT"), "api.localhost"},
		{d.url("https", "bytebot.localhost", "HTTPS_PORT"), "bytebot.localhost"},
		{d.url("http", "localhost", "LLM_API_PORT"), ""},
		{d.url("http", "localhost", "LLM_AGENT_PORT"), ""},
		{d.url("http", "localhost", "BYTEBOT_UI_PORT"), ""},
		{d.url("http", "localhost", "DESK_PORT"), ""},
		{d.url("http", "api.localhost", "HTTP_PORT"), ""},
		{d.url("http", "bytebot.localhost", "HTTP_PORT"), ""},
		{d.url("http", "caddy", "HTTP_PORT"), ""},
		{d.url("https", "caddy", "HTTPS_PORT"), "api.localhost"},
	} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			if protocol == "HTTP/2.0" && strings.HasPrefix(site.url, "http:") {
				continue
			}
			inside, outside := d.client(protocol, site.host, desktopAddress), d.client(protocol, site.host, "")
			for _, path := range []string{"/", "/health/liveliness", "/v1/models", "/k/" + agentKey + "/v1/models", "/tasks", "/computer-use"} {
				login := http.Request{Header: make(http.Header)}
				login.SetBasicAuth("admin", loginPassword)
				a := d.call(t, inside, "POST", site.url+path, "{}", "Authorization", login.Header.Get("Authorization"), "X-Api-Key", ownerKey)
				if a.status != http.StatusForbidden {
					t.Errorf("%s%s: got %d", site.url, path, a.status)
				}
				if a := d.call(t, outside, "POST", site.url+path, "{}"); a.status == http.StatusForbidden {
					t.Errorf("%s%s: refused for others too", site.url, path)
				}
			}
			for _, path := range sockets {
				if got := d.dial(t, inside, site.url+path, http.Header{"Origin": {site.url}}); got != http.StatusForbidden {
					t.Errorf("%s%s: got %d", site.url, path, got)
				}
			}
			d.reached()
		}
	}
}

// Every site that the configuration has is one that these tests visit. Those without TLS are on loopback, whatever the others
// are bound to, unless somebody says otherwise: one of them is the way to the desktop.
func TestEverySiteIsKnown(t *testing.T) {
	d := &door{gateway: newGateway(t)}
	keyless := []string{"127.0.0.1:7000 *", "127.0.0.1:7000 127.0.0.1", "127.0.0.1:7000 localhost"}
	api := []string{"127.0.0.1:7001 *", "0.0.0.0:80 *", "0.0.0.0:80 llm.example.com", "0.0.0.0:443 *", "0.0.0.0:443 llm.example.com"}
	bytebot := []string{
		"0.0.0.0:80 bytebot.example.com", "0.0.0.0:443 bytebot.example.com",
		"127.0.0.1:9992 *", "127.0.0.1:9992 127.0.0.1", "127.0.0.1:9992 localhost", "127.0.0.1:4000 *", "127.0.0.1:9990 *",
	}
	for sites, want := range map[string][]string{
		"local":   append(slices.Clone(keyless), "127.0.0.1:443 localhost"),
		"api":     slices.Concat(keyless, api),
		"bytebot": slices.Concat(keyless, api, bytebot),
	} {
		cmd := exec.CommandContext(t.Context(), executable(t), "adapt", "--config", "Caddyfile")
		cmd.Dir = repository
		cmd.Env = repositoryEnv(d.gateway, "LLM_SITES="+sites, "LLM_BIND=0.0.0.0", "HTTPS_PORT=443", "LLM_DOMAIN=llm.example.com", "BYTEBOT_DOMAIN=bytebot.example.com",
			"LLM_KEY="+ownerKey, "LLM_AGENT_KEY="+agentKey, "BYTEBOT_PASSWORD_HASH="+loginPassword, "HF_API_KEY="+providerKey)
		config, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		got := listenersOf(t, config)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", sites, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		// Public names have certificates from public authorities: nothing says otherwise of them.
		for _, policy := range gjson.GetBytes(config, "apps.tls.automation.policies").Array() {
			if strings.Contains(policy.Raw, "example.com") {
				t.Errorf("%s: got %s", sites, policy.Raw)
			}
		}
		for _, secret := range []string{ownerKey, agentKey, loginPassword, providerKey} {
			if strings.Contains(string(config), secret) {
				t.Errorf("%s: a secret is in the configuration", sites)
			}
		}
	}
}

// listenersOf returns each address that a configuration listens on, with each host that it serves there.
func listenersOf(t *testing.T, config []byte) []string {
	t.Helper()
	var parsed struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Listen []string
					Routes []struct{ Match []struct{ Host []string } }
				}
			}
		}
	}
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, server := range parsed.Apps.HTTP.Servers {
		for _, address := range server.Listen {
			for _, route := range server.Routes {
				hosts := []string{"*"}
				if len(route.Match) > 0 {
					hosts = route.Match[0].Host
				}
				for _, host := range hosts {
					found[address+" "+host] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func TestPlainHTTPIsRedirectedAndOtherNamesAreNot(t *testing.T) {
	d := openDoor(t)
	client := d.client("HTTP/1.1", "", "")
	for _, host := range []string{"api.localhost", "bytebot.localhost"} {
		a := d.call(t, client, "GET", d.url("http", host, "HTTP_PORT")+"/tasks?x=1", "")
		if want := d.url("https", host, "HTTPS_PORT") + "/tasks?x=1"; a.status != http.StatusPermanentRedirect || a.header.Get("Location") != want {
			t.Errorf("%s: got %d, %s", host, a.status, a.header.Get("Location"))
		}
	}
	for port, path := range map[string]string{"LLM_PORT": "/v1/models", "BYTEBOT_UI_PORT": "/", "HTTP_PORT": "/"} {
		for _, host := range []string{"evil.example", "caddy", "localhost.evil.example"} {
			if a := d.call(t, client, "GET", d.url("http", host, port)+path, ""); a.status != http.StatusMisdirectedRequest {
				t.Errorf("%s %s: got %d", port, host, a.status)
			}
		}
	}
	// A certificate for one name does not open another.
	for _, protocol := range protocols {
		client := d.client(protocol, "api.localhost", "")
		for _, host := range []string{"evil.example", "caddy", "127.0.0.1"} {
			if a := d.call(t, client, "GET", d.url("https", host, "HTTPS_PORT")+"/v1/models", "", "X-Api-Key", ownerKey); a.status != http.StatusMisdirectedRequest {
				t.Errorf("%s %s: got %d %s", protocol, host, a.status, a.body)
			}
		}
	}
	keyless := d.url("http", "localhost", "LLM_PORT") + "/v1/models"
	for origin, status := range map[string]int{"": 200, "http://localhost:3000": 200, "https://evil.example": 403, "http://localhost.evil.example": 403, "null": 403} {
		var header []string
		if origin != "" {
			header = []string{"Origin", origin}
		}
		if a := d.call(t, client, "GET", keyless, "", header...); a.status != status {
			t.Errorf("%q: got %d", origin, a.status)
		}
	}
}

func TestBodiesAreLimitedOnEverySite(t *testing.T) {
	d := openDoor(t)
	login := http.Request{Header: make(http.Header)}
	login.SetBasicAuth("admin", loginPassword)
	for _, test := range []struct {
		port, path, field string
		limit             int64
		object            bool
	}{
		{"LLM_PORT", "/v1/chat/completions", "", 256e6, true},
		{"LLM_API_PORT", "/v1/chat/completions", "X-Api-Key: " + ownerKey, 256e6, true},
		{"LLM_AGENT_PORT", "/k/" + agentKey + "/v1/chat/completions", "", 256e6, true},
		{"BYTEBOT_UI_PORT", "/api/tasks", "Authorization: " + login.Header.Get("Authorization"), 52 << 20, false},
		{"DESK_PORT", "/computer-use", "", 52 << 20, false},
	} {
		conn, err := net.Dial("tcp", "127.0.0.1:"+d.ports[test.port])
		if err != nil {
			t.Fatal(err)
		}
		// A body that is announced as too large is refused before it comes.
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost:%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", test.path, d.ports[test.port], test.limit+1)
		if test.field != "" {
			_, _ = fmt.Fprintf(conn, "%s\r\n", test.field)
		}
		_, _ = io.WriteString(conn, "Connection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", test.port, err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = conn.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge || test.object && gjson.GetBytes(text, "error.code").Str != "request_too_large" {
			t.Errorf("%s: got %d %s", test.port, resp.StatusCode, text)
		}
	}
	if reached := d.reached(); len(reached) > 0 {
		t.Errorf("reached %q", reached)
	}
}
