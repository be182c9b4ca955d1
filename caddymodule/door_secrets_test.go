package caddymodule

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Nothing that a deployment keeps to itself shows anywhere: not in the configuration, not in what is saved of it, in no line of
// the log, in no answer, no metric, and not in what other users of the machine see of the processes.
func TestNoSecretShows(t *testing.T) {
	starterModel(t)
	// Remote providers are beyond this proxy, which lets nobody through.
	tried := make(chan string, 100)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tried <- r.Host
		http.Error(w, "no way out", http.StatusBadGateway)
	}))
	defer proxy.Close()
	const otherProviderKey, wrongKey, wrongPassword = "other-provider-key-1b2c3d4e", "wrong-key-66e5d4c3b2a1", "wrong-password-0a1b2c3d"
	d := openDoor(t, "LLM_LOG_LEVEL=DEBUG", "HF_API_KEY="+providerKey, "OPENROUTER_API_KEY="+otherProviderKey, "HTTPS_PROXY="+proxy.URL)
	d.loaded(t)

	seen := map[string][]byte{} // what can be seen, by where
	note := func(where string, a answer) {
		var all bytes.Buffer
		_ = a.header.Write(&all)
		seen["answer of "+where] = append(all.Bytes(), a.body...)
	}
	const marker = "marker-in-the-user-agent"
	plain := d.client("HTTP/1.1", "", "")
	for _, key := range []string{ownerKey, guestKey, agentKey, wrongKey} {
		for _, port := range []string{"LLM_API_PORT", "LLM_AGENT_PORT"} {
			for _, path := range []string{"/v1/models", "/v1/elsewhere", "/health", "/v1/chat/completions"} {
				url := d.url("http", "localhost", port)
				method, body := "GET", ""
				if strings.HasPrefix(path, "/v1/chat") {
					method, body = "POST", chat("hf/auto", "hello", false)
				}
				note("path "+port+path+key[:5], d.call(t, plain, method, url+"/k/"+key+path, body, "User-Agent", marker))
				note("bearer "+port+path+key[:5], d.call(t, plain, method, url+path, body, "Authorization", "Bearer "+key))
				note("x-api-key "+port+path+key[:5], d.call(t, plain, method, url+path, body, "X-Api-Key", key))
			}
		}
	}
	for _, path := range []string{
		"/K/" + ownerKey + "/v1/models", "/%6b/" + ownerKey + "/v1/models", "/k%2f" + ownerKey + "/v1/models", "/v1/k/" + ownerKey, "/v1/models?x&key=" + ownerKey,
		"/v1/models?api_key=" + ownerKey, "/k/" + guestKey + "/k/" + ownerKey + "/v1/models", "/k/" + wrongKey + "/K/" + ownerKey + "/k/" + guestKey,
	} {
		note("misplaced "+path[:4], d.call(t, plain, "GET", d.url("http", "localhost", "LLM_API_PORT")+path, "", "User-Agent", marker))
	}
	for _, field := range []string{"Api-Key", "X-Goog-Api-Key", "X-Auth-Token"} {
		note("field "+field, d.call(t, plain, "GET", d.url("http", "localhost", "LLM_API_PORT")+"/v1/models", "", field, ownerKey))
	}
	// A key that is for another site, or for none.
	for _, port := range []string{"LLM_PORT", "BYTEBOT_UI_PORT", "DESK_PORT"} {
		for _, header := range [][2]string{{"X-Api-Key", ownerKey}, {"Authorization", "Bearer " + ownerKey}} {
			note("misplaced "+port+header[0], d.call(t, plain, "POST", d.url("http", "localhost", port)+"/v1/messages?key="+ownerKey, "{}", header[:]...))
		}
	}
	note("openrouter", d.call(t, plain, "POST", d.url("http", "localhost", "LLM_API_PORT")+"/k/"+ownerKey+"/v1/chat/completions", chat("openrouter/auto", "hello", true)))
	for protocol, client := range map[string]*http.Client{
		"HTTP/1.1": d.client("HTTP/1.1", "bytebot.localhost", ""), "HTTP/2.0": d.client("HTTP/2.0", "bytebot.localhost", ""), "HTTP/3.0": d.client("HTTP/3.0", "bytebot.localhost", ""),
	} {
		for _, password := range []string{loginPassword, wrongPassword} {
			login := "Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+password))
			for _, path := range []string{"/", "/api/tasks", "/nowhere"} {
				note(protocol+path+password[:5], d.call(t, client, "GET", d.url("https", "bytebot.localhost", "HTTPS_PORT")+path, "", "Authorization", login))
			}
		}
	}
	select {
	case host := <-tried:
		if host != "router.huggingface.co:443" {
			t.Errorf("%s was called", host)
		}
	default:
		t.Error("no provider was called")
	}

	admin := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}}
	for _, path := range []string{
		"/config/", "/metrics", "/llm/status", "/llm/engines", "/llm/memory", "/reverse_proxy/upstreams", "/pki/ca/local", "/debug/vars", "/debug/pprof/cmdline",
		"/debug/pprof/goroutine?debug=2", "/nowhere",
	} {
		note("admin "+path, d.call(t, admin, "GET", "http://"+d.admin+path, ""))
	}
	for _, pid := range append(d.servers(), d.pid()) {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err != nil {
			t.Fatal(err)
		}
		seen["command line "+strconv.Itoa(pid)] = line
	}
	for _, pid := range d.servers() { // Caddy's own is where the secrets come from
		environment, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if err != nil {
			t.Fatal(err)
		}
		seen["environment of llama-server"] = environment
	}
	saved := false
	err := filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && path == filepath.Join(d.dir, "keys") {
			return fs.SkipDir
		}
		saved = saved || entry.Name() == "autosave.json"
		if entry.Type().IsRegular() {
			seen[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || !saved {
		t.Fatalf("autosave.json: %t, %v", saved, err)
	}
	seen["the log"] = []byte(d.output.String())

	if text := seen["the log"]; !bytes.Contains(text, []byte(marker)) || !bytes.Contains(text, []byte(`"level":"debug"`)) {
		t.Error("the log does not tell of the requests")
	}
	if !bytes.Contains(seen["answer of admin /metrics"], []byte("caddy_http_requests_total")) || !bytes.Contains(seen["answer of admin /config/"], []byte("{env.LLM_KEY}")) {
		t.Error("the admin API does not tell what it should")
	}
	if _, ok := seen["environment of llama-server"]; !ok {
		t.Error("there is no llama-server")
	}
	var hash string
	for _, variable := range d.env {
		if value, ok := strings.CutPrefix(variable, "BYTEBOT_PASSWORD_HASH="); ok {
			hash = value
		}
	}
	for _, secret := range []string{
		ownerKey, guestKey, agentKey, wrongKey, loginPassword, wrongPassword, providerKey, otherProviderKey, hash,
		base64.StdEncoding.EncodeToString([]byte("admin:" + loginPassword)), base64.StdEncoding.EncodeToString([]byte("admin:" + wrongPassword)),
	} {
		for _, where := range slices.Sorted(maps.Keys(seen)) {
			if i := bytes.Index(seen[where], []byte(secret)); i >= 0 {
				t.Errorf("%s shows %s: %s", where, secret, seen[where][max(0, i-200):i+len(secret)])
			}
		}
	}
}
