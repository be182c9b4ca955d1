package caddymodule

import (
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// Whoever guesses at one of the door's sites is not heard at any, and whoever has been in goes on, from the same address too.
func TestTheDoorIsNotOpenedByGuessing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8 to be loopback")
	}
	d := openDoor(t)
	site, api, agent := d.url("https", "bytebot.localhost", "HTTPS_PORT"), d.url("http", "localhost", "LLM_API_PORT"), d.url("http", "localhost", "LLM_AGENT_PORT")
	for i, protocol := range protocols[:2] { // the client for HTTP/3 has no address of its own
		address := fmt.Sprintf("127.0.1.%d", i+1)
		pages, keys := d.client(protocol, "bytebot.localhost", address), d.client("HTTP/1.1", "", address)
		sockets := d.client("HTTP/1.1", "bytebot.localhost", address)
		knock := func(client *http.Client, password string, header ...string) answer {
			login := http.Request{Header: make(http.Header)}
			login.SetBasicAuth("admin", password)
			return d.call(t, client, "GET", site+"/tasks", "", append(header, "Authorization", login.Header.Get("Authorization"))...)
		}
		first := knock(pages, loginPassword)
		cookie, _, _ := strings.Cut(first.header.Get("Set-Cookie"), ";")
		if first.status != http.StatusOK || cookie == "" {
			t.Fatalf("%s: got %d, %v", protocol, first.status, first.header)
		}
		if a := d.call(t, keys, "GET", api+"/v1/models", "", "X-Api-Key", ownerKey); a.status != http.StatusOK {
			t.Fatalf("%s: got %d", protocol, a.status)
		}

		for guess := range 8 {
			if a := knock(pages, fmt.Sprint("wrong", guess)); a.status != http.StatusUnauthorized {
				t.Errorf("%s: guess %d: got %d", protocol, guess, a.status)
			}
		}
		socket := func(password string, more http.Header) int {
			header := http.Header{"Origin": {site}}
			maps.Copy(header, more)
			login := http.Request{Header: header}
			login.SetBasicAuth("admin", password)
			return d.dial(t, sockets, site+"/api/proxy/websockify", header)
		}
		if got := socket("wrong8", nil); got != http.StatusUnauthorized {
			t.Errorf("%s: got %d", protocol, got)
		}
		if a := d.call(t, keys, "GET", api+"/k/"+unknownKey+"/v1/models", ""); a.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d", protocol, a.status)
		}

		for name, got := range map[string]int{
			"an eleventh password":        knock(pages, "wrong10").status,
			"a websocket":                 socket("wrong10", nil),
			"a key":                       d.call(t, keys, "GET", api+"/v1/models", "", "Authorization", "Bearer "+unknownKey+"1").status,
			"a key in the path":           d.call(t, keys, "GET", api+"/k/"+unknownKey+"2/v1/models", "").status,
			"a key for the agent":         d.call(t, keys, "GET", agent+"/k/"+unknownKey+"3/v1/models", "").status,
			"the password, by a guesser":  knock(pages, loginPassword).status,
			"a websocket, by a guesser":   socket(loginPassword, nil),
			"another's cookie, by itself": knock(pages, "wrong11", "Cookie", cookie).status,
		} {
			if got != http.StatusTooManyRequests {
				t.Errorf("%s: %s: got %d", protocol, name, got)
			}
		}
		d.reached()
		if a := knock(pages, loginPassword, "Cookie", "theme=dark; "+cookie); a.status != http.StatusOK {
			t.Errorf("%s: who has logged in gets %d", protocol, a.status)
		}
		d.ui.mu.Lock()
		if got := d.ui.requests[len(d.ui.requests)-1].Header.Get("Cookie"); got != "theme=dark" {
			t.Errorf("%s: the services are told %s", protocol, got)
		}
		d.ui.mu.Unlock()
		if got := socket(loginPassword, http.Header{"Cookie": {cookie}}); got != http.StatusSwitchingProtocols {
			t.Errorf("%s: the page of who has logged in gets %d", protocol, got)
		}
		if a := d.call(t, keys, "GET", api+"/v1/models", "", "X-Api-Key", ownerKey); a.status != http.StatusOK {
			t.Errorf("%s: a key that has opened gets %d", protocol, a.status)
		}
		if a := d.call(t, keys, "GET", api+"/health/liveliness", ""); a.status != http.StatusOK {
			t.Errorf("%s: what needs no key gets %d", protocol, a.status)
		}
		if a := knock(d.client(protocol, "bytebot.localhost", "127.0.2.1"), loginPassword); a.status != http.StatusOK {
			t.Errorf("%s: who comes from elsewhere gets %d", protocol, a.status)
		}
	}
}
