package caddymodule

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Requests that one server may read in one way and the next in another, and fields that are there twice. None of them gets
// further than the door.
func TestWhatCanBeReadInTwoWaysIsNotRead(t *testing.T) {
	d := openDoor(t)
	login := http.Request{Header: make(http.Header)}
	login.SetBasicAuth("admin", loginPassword)
	own := d.url("http", "localhost", "BYTEBOT_UI_PORT")
	user := http.Header{"Authorization": login.Header["Authorization"], "Origin": {own}}
	socket := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	for _, row := range []struct {
		name, port, method, path string
		fields                   []http.Header // the later ones in the place of the earlier
		status                   int
	}{
		{"two origins", "LLM_PORT", "GET", "/v1/models", []http.Header{{"Origin": {"http://localhost", "https://evil.example"}}}, 403},
		{"two origins", "LLM_PORT", "GET", "/v1/models", []http.Header{{"Origin": {"https://evil.example", "http://localhost"}}}, 403},
		{"two origins", "BYTEBOT_UI_PORT", "GET", sockets[1], []http.Header{user, socket, {"Origin": {own, "https://evil.example"}}}, 403},
		{"two origins", "BYTEBOT_UI_PORT", "POST", "/api/tasks", []http.Header{user, {"Origin": {"https://evil.example", own}}}, 403},
		{"two sites", "BYTEBOT_UI_PORT", "POST", "/api/tasks", []http.Header{user, {"Sec-Fetch-Site": {"same-origin", "cross-site"}}}, 403},
		{"an upgrade without a connection", "BYTEBOT_UI_PORT", "GET", sockets[1], []http.Header{user, socket, {"Connection": nil}}, 404},
		{"two upgrades", "BYTEBOT_UI_PORT", "GET", sockets[1], []http.Header{user, socket, {"Upgrade": {"h2c", "websocket"}}}, 404},
		{"another case", "BYTEBOT_UI_PORT", "GET", "/API/proxy/websockify", []http.Header{user, socket}, 404},
		{"a websocket", "BYTEBOT_UI_PORT", "GET", sockets[1], []http.Header{user, socket, {"Connection": {"keep-alive, Upgrade"}}}, 101},
		{"an upgrade without a connection", "DESK_PORT", "GET", "/socket.io/?EIO=4&transport=polling", []http.Header{socket, {"Connection": nil}}, 404},
		{"an upgrade without a connection", "DESK_PORT", "GET", "/websockify", []http.Header{socket, {"Connection": {"keep-alive"}}}, 404},
		{"two upgrades", "DESK_PORT", "GET", "/websockify", []http.Header{socket, {"Upgrade": {"websocket", "h2c"}}}, 404},
		{"an upgrade", "DESK_PORT", "POST", "/computer-use", []http.Header{socket}, 404},
		{"double slash", "DESK_PORT", "POST", "//computer-use", nil, 404},
		{"dots", "DESK_PORT", "POST", "/mcp/../computer-use", nil, 404},
		{"escaped dots", "DESK_PORT", "POST", "/mcp/%2e%2e/computer-use", nil, 404},
		{"escaped slash", "DESK_PORT", "POST", "/mcp%2f..%2fcomputer-use", nil, 404},
		{"another case", "DESK_PORT", "POST", "/Computer-Use", nil, 404},
		{"dots", "DESK_PORT", "GET", "/mcp/../websockify", []http.Header{socket}, 404},
	} {
		header := make(http.Header)
		for _, fields := range row.fields {
			maps.Copy(header, fields)
		}
		status, _ := d.send(t, row.port, "localhost:"+d.ports[row.port], row.method, row.path, header)
		reached := d.reached()
		if status != row.status || (status == http.StatusSwitchingProtocols) != (len(reached) > 0) {
			t.Errorf("%s: %s %s %s: got %d, reached %q; want %d", row.name, row.port, row.method, row.path, status, reached, row.status)
		}
	}
}

// Everybody may know that the process runs. How the models are is for who has a key or is on this machine, however the path is
// written and whatever a page calls this machine.
func TestStrangersLearnOnlyThatTheGatewayIsAlive(t *testing.T) {
	d := openDoor(t)
	for _, port := range []string{"LLM_API_PORT", "LLM_AGENT_PORT"} {
		for _, path := range []string{
			"/health/liveliness", "/health/liveliness/", "/health/liveliness/.", "/HEALTH/LIVELINESS", "/health/Liveliness", "//health//liveliness", "/health/x/../liveliness",
			"/health/liveliness/../liveliness", "/health/livelines%73", "/health%2fliveliness", "/health/liveliness%2f", "/health/liveliness/..",
		} {
			status, body := d.send(t, port, "api.example", "GET", path, nil)
			if status != http.StatusUnauthorized && (status != http.StatusOK || strings.TrimSpace(body) != `{"status":"alive"}`) {
				t.Errorf("%s %s: got %d %s", port, path, status, body)
			}
		}
	}
	for host, want := range map[string]int{"localhost": 200, "127.0.0.1": 200, "evil.example": 401, "api.localhost": 401} {
		if status, body := d.send(t, "LLM_API_PORT", host+":"+d.ports["LLM_API_PORT"], "GET", "/health/readiness", nil); status == http.StatusUnauthorized != (want == 401) {
			t.Errorf("%s: got %d %s, want %d", host, status, body, want)
		}
	}
}

// Another site's page may have a link to Bytebot's pages, and nothing more of them: neither what it could show or probe, nor
// frames.
func TestOnlyLinksOfOtherSitesLeadIn(t *testing.T) {
	d := openDoor(t)
	login := http.Request{Header: make(http.Header)}
	login.SetBasicAuth("admin", loginPassword)
	for _, row := range []struct {
		method, path, site, mode, dest string
		status                         int
	}{
		{"GET", "/tasks", "cross-site", "navigate", "document", 200},
		{"GET", "/", "none", "navigate", "document", 200},
		{"GET", "/", "same-origin", "no-cors", "image", 200},
		{"GET", "/api/tasks/42", "same-origin", "cors", "empty", 200},
		{"GET", "/", "cross-site", "navigate", "iframe", 403},
		{"GET", "/logo.png", "cross-site", "no-cors", "image", 403},
		{"GET", "/api/tasks/42", "same-site", "no-cors", "script", 403},
		{"GET", "/api/tasks/42", "cross-site", "cors", "empty", 403},
		{"POST", "/api/tasks", "cross-site", "navigate", "document", 403},
	} {
		status, _ := d.send(t, "BYTEBOT_UI_PORT", "localhost:"+d.ports["BYTEBOT_UI_PORT"], row.method, row.path, http.Header{
			"Authorization": login.Header["Authorization"], "Sec-Fetch-Site": {row.site}, "Sec-Fetch-Mode": {row.mode}, "Sec-Fetch-Dest": {row.dest},
		})
		if reached := d.reached(); status != row.status || (status == http.StatusOK) != (len(reached) > 0) {
			t.Errorf("%+v: got %d, reached %q", row, status, reached)
		}
	}
}

// Images of another site's page may lead here, with a key in their address. Whoever looks at the page has not guessed.
func TestPagesOfOtherSitesLockNobodyOut(t *testing.T) {
	d := openDoor(t)
	host := "localhost:" + d.ports["LLM_API_PORT"]
	for i := range 12 {
		path := fmt.Sprintf("/k/%s-%d/v1/models", unknownKey, i)
		if status, body := d.send(t, "LLM_API_PORT", host, "GET", path, http.Header{"Sec-Fetch-Site": {"cross-site"}}); status != http.StatusForbidden {
			t.Fatalf("got %d %s", status, body)
		}
	}
	// The right one is not looked at either, or somebody could leave the field in to guess for as long as he likes.
	if status, _ := d.send(t, "LLM_API_PORT", host, "GET", "//k//"+ownerKey+"/v1/models", http.Header{"Sec-Fetch-Site": {"same-site"}}); status != http.StatusForbidden {
		t.Errorf("got %d", status)
	}
	for _, header := range []http.Header{{"Authorization": {"Bearer " + ownerKey}}, {"X-Api-Key": {ownerKey}, "Sec-Fetch-Site": {"cross-site"}}} {
		if status, body := d.send(t, "LLM_API_PORT", host, "GET", "/v1/models", header); status != http.StatusOK {
			t.Errorf("got %d %s", status, body)
		}
	}
	if status, _ := d.send(t, "LLM_API_PORT", host, "GET", "/k/"+ownerKey+"/v1/models", http.Header{"Sec-Fetch-Site": {"none"}}); status != http.StatusOK {
		t.Errorf("typed into a browser: got %d", status)
	}
}

// send sends a request as it is written, and returns the status and what came with it.
func (d *door) send(t *testing.T, port, host, method, path string, header http.Header) (status int, body string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+d.ports[port])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	_ = header.Write(&b)
	if method == http.MethodPost {
		b.WriteString("Content-Length: 2\r\n\r\n{}")
	} else {
		b.WriteString("\r\n")
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, ""
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
