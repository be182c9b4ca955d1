package caddymodule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/crypto/bcrypt"
)

// Keys of the tests' clients.
const (
	annsKey    = "anns-key-2b7f4e90c1d8"
	annsOther  = "anns-other-key-77aa01"
	bensKey    = "bens-key-9c3d5e7f1a2b"
	staleKey   = "stale-key-0f1e2d3c4b5a"
	unknownKey = "unknown-key-31415926535"
)

// authSite is a site whose models are behind keys. before and after are directives around llm_auth.
func authSite(t *testing.T, before, after string) string {
	t.Helper()
	t.Setenv("ANNS_KEY", annsKey+" "+annsOther)
	t.Setenv("STALE_KEY", staleKey)
	file := filepath.Join(t.TempDir(), "ben")
	if err := os.WriteFile(file, []byte(bensKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return `route {
		` + before + `
		llm_auth {
			key ann {env.ANNS_KEY}
			key ben {file.` + file + `} {
				models small gpt-*
			}
			key ben {env.STALE_KEY} {
				expires 2020-02-29
			}
		}
		` + after + `
		llm {
			provider echo echo
			provider other echo
			model small tiny {
				to echo other
			}
			model large {
				to echo
			}
			model * {
				to other
			}
		}
	}
	log_append user {http.auth.user.id}`
}

// keyForms are the forms in which a key may come.
var keyForms = map[string]func(req *http.Request, key string){
	"bearer":    func(req *http.Request, key string) { req.Header.Set("Authorization", "Bearer "+key) },
	"x-api-key": func(req *http.Request, key string) { req.Header.Set("X-Api-Key", key) },
	"path":      func(req *http.Request, key string) { req.URL.Path = "/k/" + key + req.URL.Path },
	"bytebot": func(req *http.Request, key string) {
		req.URL.Path = "/k/" + key + "/" + req.URL.Path
		req.Header.Set("Authorization", "Bearer dummy-key-for-proxy")
	},
	"both headers": func(req *http.Request, key string) {
		req.Header.Set("X-Api-Key", key)
		req.Header.Set("Authorization", "Bearer "+unknownKey)
	},
}

// with sends a request with a key and returns the answer.
func (g *gateway) with(client *http.Client, way, key, body string) answer {
	g.t.Helper()
	req := g.request(g.t.Context(), body)
	if key != "" {
		keyForms[way](req, key)
	}
	resp, err := client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func TestKeysOpenInEveryForm(t *testing.T) {
	g := newGateway(t)
	g.start(authSite(t, "", ""))
	body := chat("small", "hello", false)
	for _, protocol := range protocols {
		client := g.client(protocol)
		for way := range keyForms {
			for key, status := range map[string]int{
				annsKey: 200, annsOther: 200, bensKey: 200, "": 401, staleKey: 401, unknownKey: 401, annsKey[1:]: 401, annsKey + "0": 401,
			} {
				a := g.with(client, way, key, body)
				if a.status != status {
					t.Errorf("%s %s %q: got %d %s", protocol, way, key, a.status, a.body)
				}
				if status == 200 {
					continue
				}
				e := gjson.Get(a.body, "error")
				challenge := a.header.Get("WWW-Authenticate")
				if e.Get("code").Str != "invalid_api_key" || e.Get("type").Str != "invalid_request_error" || a.header.Get("Content-Type") != "application/json" ||
					!strings.HasPrefix(challenge, "Bearer ") || strings.Contains(challenge, "invalid_token") != (key != "") {
					t.Errorf("%s %s %q: got %s, %v", protocol, way, key, a.body, a.header)
				}
				if key == staleKey && !strings.Contains(a.message(), "expired") {
					t.Errorf("%s %s: got %s", protocol, way, a.body)
				}
			}
		}
	}
}

// One begun anew for each key in its path would be as deep in the stack as a stranger likes.
func TestOneKeyIsTakenOutOfAPath(t *testing.T) {
	g := newGateway(t)
	g.start(authSite(t, "", ""))
	req := g.request(t.Context(), chat("small", "hello", false))
	req.URL.Path = strings.Repeat("/k/"+unknownKey, 100) + "/k/" + annsKey + req.URL.Path
	resp, err := g.client("HTTP/1.1").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestKeysAreForTheirModelsOnly(t *testing.T) {
	g := newGateway(t)
	g.start(authSite(t, "", ""))
	client := g.client("HTTP/2.0")
	for name, test := range map[string]struct {
		model, members, provider string
		status                   int
	}{
		"its model":                    {"small", "", "", 200},
		"by alias":                     {"tiny", "", "", 200},
		"by prefix":                    {"other/small", "", "", 200},
		"by header":                    {"small", "", "other", 200},
		"by member":                    {"small", `"provider":"other"`, "", 200},
		"by pattern":                   {"gpt-5", "", "", 200},
		"another":                      {"large", "", "", 404},
		"another by prefix":            {"echo/large", "", "", 404},
		"another by header":            {"large", "", "echo", 404},
		"another by member":            {"large", `"provider":"echo"`, "", 404},
		"another by pattern":           {"claude", "", "", 404},
		"another by pattern, prefixed": {"other/claude", "", "", 404},
		"a list":                       {"small", `"models":["tiny","gpt-5"]`, "", 200},
		"a list with another":          {"small", `"models":["large"]`, "", 404},
		"a list with a prefixed other": {"small", `"models":["echo/large"]`, "", 404},
		"another with a list":          {"large", `"models":["small"]`, "", 404},
	} {
		var members []string
		if test.members != "" {
			members = append(members, test.members)
		}
		body := chat(test.model, "hello", false, members...)
		for _, key := range []string{bensKey, annsKey} {
			req := g.request(t.Context(), body)
			req.Header.Set("Authorization", "Bearer "+key)
			if test.provider != "" {
				req.Header.Set("X-LLM-Provider", test.provider)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			status := test.status
			if key == annsKey { // hers are for all
				status = 200
			}
			if resp.StatusCode != status {
				t.Errorf("%s, %s: got %d %s", name, key, resp.StatusCode, text)
			}
			if status == 404 && gjson.GetBytes(text, "error.code").Str != "model_not_found" {
				t.Errorf("%s: got %s", name, text)
			}
		}
	}
	for key, want := range map[string][]string{annsKey: {"large", "small"}, bensKey: {"small"}} {
		for path, member := range map[string]string{"/v1/models": "data.#.id", "/v1/model/info": "data.#.litellm_params.model"} {
			var names []string
			for _, name := range gjson.Get(g.getWith(t, client, path, key), member).Array() {
				names = append(names, name.Str)
			}
			if !slices.Equal(names, want) {
				t.Errorf("%s for %s: got %q, want %q", path, key, names, want)
			}
		}
	}
	if got := g.getWith(t, client, "/v1/models/large", bensKey); gjson.Get(got, "error.code").Str != "model_not_found" || strings.Contains(gjson.Get(got, "error.message").Str, "there are: large") {
		t.Errorf("got %s", got)
	}
	if got := g.getWith(t, client, "/v1/models/tiny", bensKey); gjson.Get(got, "id").Str != "tiny" {
		t.Errorf("got %s", got)
	}
}

// getWith asks for something with a key.
func (g *gateway) getWith(t *testing.T, client *http.Client, path, key string) string {
	t.Helper()
	req := g.request(t.Context(), "")
	req.Method, req.Body, req.ContentLength, req.URL.Path = http.MethodGet, nil, 0, path
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

// Every request has one entry in the access log, which has its path without the key and says who it was. No key is in any
// entry, whatever becomes of the request.
func TestKeysAreNotLogged(t *testing.T) {
	g := newGateway(t)
	g.start(authSite(t, "", `
		request_body {
			max_size 1KB
		}
		rate_limit {
			zone `+strings.ToLower(t.Name())+` {
				key {http.auth.user.id}
				match {
					header X-Often *
				}
				events 1
				window 1h
			}
		}
		@fault header X-Fault *
		error @fault "as asked" 500`) + `
	handle_errors 429 {
		respond "slow down" 429
	}`)
	requests := 0
	for _, protocol := range protocols {
		client := g.client(protocol)
		for way, carry := range keyForms {
			for _, key := range []string{annsKey, bensKey, staleKey, unknownKey} {
				for name, change := range map[string]func(*http.Request){
					"answered":   func(*http.Request) {},
					"limited":    func(req *http.Request) { req.Header.Set("X-Often", "1") },
					"faulty":     func(req *http.Request) { req.Header.Set("X-Fault", "1") },
					"nowhere":    func(req *http.Request) { req.URL.Path = "/v1/elsewhere" },
					"with query": func(req *http.Request) { req.URL.RawQuery = "a=b" },
					"too large": func(req *http.Request) {
						req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, 2048))), 2048
					},
					"escaped too": func(req *http.Request) { req.URL.Path = "/v1/models/a/b"; req.URL.RawPath = "/v1/models/a%2Fb" },
				} {
					req := g.request(t.Context(), chat("small", "hello", false))
					change(req)
					carry(req, key)
					if req.URL.RawPath != "" {
						req.URL.RawPath = strings.TrimSuffix(req.URL.Path, "/v1/models/a/b") + req.URL.RawPath
					}
					resp, err := client.Do(req)
					if err != nil {
						t.Fatalf("%s %s %s: %v", protocol, way, name, err)
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if len(resp.Header.Values("Alt-Svc")) > 1 {
						t.Errorf("%s %s %s: got %q", protocol, way, name, resp.Header.Values("Alt-Svc"))
					}
					requests++
				}
			}
		}
	}
	await(t, "all entries of the log", func() bool { return g.handled() >= requests })
	users := map[any]int{}
	for _, entry := range g.logged("handled request") {
		text, _ := json.Marshal(entry)
		if uri := gjson.GetBytes(text, "request.uri").Str; strings.Contains(uri, "/k/") || !strings.HasPrefix(strings.TrimLeft(uri, "/"), "v1/") {
			t.Errorf("got %s", uri)
		}
		users[entry["user_id"]]++
	}
	if got := g.handled(); got != requests {
		t.Errorf("there are %d entries for %d requests", got, requests)
	}
	if half := requests / 4; users["ann"] != half || users["ben"] != half || users[""] != 2*half {
		t.Errorf("got %v", users)
	}
	log, err := os.ReadFile(g.logFile())
	if err != nil || !bytes.Contains(log, []byte(`"level":"debug"`)) {
		t.Fatal(err)
	}
	for _, key := range []string{annsKey, annsOther, bensKey, staleKey, unknownKey} {
		if i := bytes.Index(log, []byte(key)); i >= 0 {
			t.Errorf("a key is logged: %s", log[max(0, i-300):i+len(key)])
		}
	}
}

func TestKeysAndLoginsStandSideBySide(t *testing.T) {
	g := newGateway(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LOGIN_HASH", string(hash))
	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie("session"); err != nil || cookie.Value != "doras" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Remote-User", "dora")
	}))
	defer guard.Close()
	site := authSite(t, `
		@session header Cookie *
		forward_auth @session `+strings.TrimPrefix(guard.URL, "http://")+` {
			uri /
			copy_headers Remote-User
		}
		@person header Authorization Basic*
		basic_auth @person {
			carl {env.LOGIN_HASH}
		}`, "")
	g.start(strings.Replace(site, "llm_auth {", `@program {
			not header Authorization Basic*
			not header Cookie *
		}
		llm_auth @program {`, 1))
	client := g.client("HTTP/1.1")
	body := chat("small", "hello", false)
	ask := func(user, password string, extra ...string) int {
		req := g.request(t.Context(), body)
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		for i := 0; i < len(extra); i += 2 {
			req.Header.Set(extra[i], extra[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for name, got := range map[string]int{
		"a key":            ask("", "", "Authorization", "Bearer "+annsKey),
		"a login":          ask("carl", "secret"),
		"a session":        ask("", "", "Cookie", "session=doras"),
		"a key and no use": ask("", "", "X-Api-Key", bensKey),
	} {
		if got != http.StatusOK {
			t.Errorf("%s: got %d", name, got)
		}
	}
	for name, got := range map[string]int{
		"nothing":           ask("", ""),
		"a wrong session":   ask("", "", "Cookie", "session=anns", "X-Api-Key", unknownKey),
		"a wrong login":     ask("carl", "wrong"),
		"a key as password": ask("carl", annsKey),
		"another scheme":    ask("", "", "Authorization", "Digest "+annsKey),
		"an empty one":      ask("", "", "Authorization", "Bearer "),
		"an empty header":   ask("", "", "X-Api-Key", ""),
		"the scheme's name": ask("", "", "Authorization", "Bearer"),
	} {
		if got != http.StatusUnauthorized {
			t.Errorf("%s: got %d", name, got)
		}
	}
	await(t, "entries of the log", func() bool { return g.handled() >= 12 })
	var users []string
	for _, entry := range g.logged("handled request") {
		if user, _ := entry["user"].(string); user != "" {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	if !slices.Equal(users, []string{"ann", "ben", "carl"}) {
		t.Errorf("got %q", users)
	}
}

// A request that is begun anew is one like any other: its body is as large as it likes, and its answer comes as it is made.
func TestStreamsFlowWithAKeyInThePath(t *testing.T) {
	heard := make(chan struct{}, 1)
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sayRole(w)
		say(w, "one")
		select {
		case <-heard:
			say(w, "two")
			sayDone(w)
		case <-r.Context().Done():
		}
	})
	t.Setenv("ANNS_KEY", annsKey)
	g := newGateway(t)
	g.start(`route {
		llm_auth {
			key ann {env.ANNS_KEY}
		}
		llm {
			provider remote openai ` + url + `
			model m {
				to remote
			}
		}
	}`)
	prompt := strings.Repeat("large ", 1<<17)
	for _, protocol := range protocols {
		req := g.request(t.Context(), chat("m", prompt, true))
		keyForms["path"](req, annsKey)
		resp, err := g.client(protocol).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		s := &stream{resp: resp, lines: bufio.NewReader(resp.Body)}
		if err := s.word(); err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		heard <- struct{}{} // which the second word waits for
		if text, err := s.rest(); err != nil || text != "onetwo" {
			t.Errorf("%s: got %q, %v", protocol, text, err)
		}
	}
}

// Whoever answers after llm_auth gets no key, and the path that the client would have used with a header.
func TestKeysGoNoFurther(t *testing.T) {
	seen := make(chan *http.Request, 1)
	url := upstream(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r })
	g := newGateway(t)
	g.start(authSite(t, "", "reverse_proxy "+strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/v1")))
	for way, carry := range keyForms {
		req := g.request(t.Context(), "{}")
		req.URL.RawQuery = "x=1"
		carry(req, annsKey)
		resp, err := g.client("HTTP/1.1").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		select {
		case r := <-seen:
			if want := "/v1/chat/completions?x=1"; strings.Replace(r.RequestURI, "//", "/", 1) != want {
				t.Errorf("%s: got %s", way, r.RequestURI)
			}
			for name, values := range r.Header {
				if text := strings.Join(values, " "); strings.Contains(text, annsKey) || strings.Contains(text, "dummy-key") || strings.Contains(text, unknownKey) {
					t.Errorf("%s: %s is passed on", way, name)
				}
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: nothing arrived", way)
		}
	}
}

// docs/operating.md says which requests Caddy's own metrics have twice.
func TestCaddysMetricsHaveRequestsTwiceThatAreBegunAnew(t *testing.T) {
	g := newGateway(t)
	g.options = "metrics"
	g.start(authSite(t, "", ""))
	client := g.client("HTTP/2.0")
	for way, times := range map[string]float64{"bearer": 1, "x-api-key": 2, "path": 2} {
		before := value(g.families(), "caddy_http_requests_total")
		if a := g.with(client, way, annsKey, chat("small", "hello", false)); a.status != http.StatusOK {
			t.Fatalf("%s: got %d", way, a.status)
		}
		await(t, "all counts", func() bool { return value(g.families(), "caddy_http_requests_total") >= before+times })
		if got := value(g.families(), "caddy_http_requests_total") - before; got != times {
			t.Errorf("%s: counted %g times", way, got)
		}
	}
}
