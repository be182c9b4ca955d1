package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"golang.org/x/crypto/bcrypt"
)

// guardedSite is a site with a login for people and keys for programs, where three wrong ones lock an address out. Clients
// say where they come from, as a proxy before the site would.
func guardedSite(t *testing.T, g *gateway, duration string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(loginPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LOGIN_HASH", string(hash))
	t.Setenv("ANNS_KEY", annsKey)
	t.Setenv("BENS_KEY", bensKey)
	g.options = `servers {
			trusted_proxies static 127.0.0.1
			trusted_proxies_strict
		}`
	return `route {
		llm_lockout {
			attempts 3
			window 1h
			duration ` + duration + `
		}
		@person header Authorization Basic*
		basic_auth @person {
			carl {env.LOGIN_HASH}
		}
		@program not header Authorization Basic*
		llm_auth @program {
			key ann {env.ANNS_KEY}
			key ben {env.BENS_KEY}
		}
		error /upstream-refuses 401
		llm {
			provider echo echo
			model small {
				to echo
			}
		}
		respond "a page" 200
	}`
}

// visitor is somebody before a guarded site, at an address.
type visitor struct {
	g      *gateway
	client *http.Client
	from   string
	cookie string
}

// visit sends a request and returns the answer. It keeps the cookie that it gets.
func (v *visitor) visit(t *testing.T, dress func(*http.Request)) answer {
	t.Helper()
	a, err := v.ask(t.Context(), dress)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range a.header.Values("Set-Cookie") {
		cookie, err := http.ParseSetCookie(line)
		if err != nil || !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" {
			t.Fatalf("got %s, %v", line, err)
		}
		v.cookie = cookie.Name + "=" + cookie.Value
	}
	return a
}

func (v *visitor) ask(ctx context.Context, dress func(*http.Request)) (answer, error) {
	req := v.g.request(ctx, "")
	req.Method, req.Body, req.ContentLength, req.URL.Path = http.MethodGet, nil, 0, "/"
	req.Header.Set("X-Forwarded-For", v.from)
	if v.cookie != "" {
		req.Header.Set("Cookie", v.cookie)
	}
	dress(req)
	resp, err := v.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// password is a login with a password.
func password(is string) func(*http.Request) {
	return func(req *http.Request) { req.SetBasicAuth("carl", is) }
}

// key is a key in a form.
func key(form, is string) func(*http.Request) {
	return func(req *http.Request) { keyForms[form](req, is) }
}

func TestAGuesserIsLockedOutAndWhoHasBeenInIsNot(t *testing.T) {
	g := newGateway(t)
	g.start(guardedSite(t, g, "1h"))
	for i, protocol := range protocols {
		from := fmt.Sprintf("192.0.2.%d", i+1)
		client := g.client(protocol)
		person, program, guesser := visitor{g, client, from, ""}, visitor{g, client, from, ""}, visitor{g, client, from, ""}
		for range 5 {
			if a := person.visit(t, password(loginPassword)); a.status != http.StatusOK {
				t.Fatalf("%s: got %d", protocol, a.status)
			}
			for form := range keyForms {
				if a := program.visit(t, key(form, annsKey)); a.status != http.StatusOK {
					t.Fatalf("%s: %s: got %d", protocol, form, a.status)
				}
			}
			// Without anything to look at, it is no guess.
			if a := guesser.visit(t, func(*http.Request) {}); a.status != http.StatusUnauthorized {
				t.Errorf("%s: got %d", protocol, a.status)
			}
		}
		for j := range 3 {
			dress := password(fmt.Sprint("wrong-", j))
			if j == 1 {
				dress = key("x-api-key", unknownKey)
			}
			if a := guesser.visit(t, dress); a.status != http.StatusUnauthorized {
				t.Errorf("%s: guess %d: got %d", protocol, j, a.status)
			}
		}
		for name, dress := range map[string]func(*http.Request){
			"another password":                 password("wrong-4"),
			"the right password":               password(loginPassword), // or it could be found out from here
			"a known wrong one":                password("wrong-0"),
			"a key as Bearer":                  key("bearer", unknownKey),
			"a key as x-api-key":               key("x-api-key", unknownKey),
			"a key in the path":                key("path", unknownKey),
			"the right key, not used here yet": key("path", bensKey),
			"an upgrade": func(req *http.Request) {
				req.SetBasicAuth("carl", "wrong")
				if protocol == "HTTP/1.1" {
					req.Header.Set("Connection", "Upgrade")
					req.Header.Set("Upgrade", "websocket")
				}
			},
		} {
			a := guesser.visit(t, dress)
			if wait, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != http.StatusTooManyRequests || err != nil || wait < 3000 || wait > 3600 {
				t.Errorf("%s: %s: got %d, Retry-After %d, %v", protocol, name, a.status, wait, err)
			}
			if gjson.Get(a.body, "error.code").Str != "locked_out" || a.header.Get("WWW-Authenticate") != "" || len(a.header.Values("Alt-Svc")) > 1 {
				t.Errorf("%s: %s: got %s, %v", protocol, name, a.body, a.header)
			}
		}
		if a := guesser.visit(t, func(req *http.Request) { req.SetBasicAuth("a", "b"); req.Header.Set("Accept", "text/html,*/*") }); a.status != http.StatusTooManyRequests ||
			!strings.HasPrefix(a.body, "too many wrong passwords or keys") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %s", protocol, a.status, a.body)
		}
		if a := guesser.visit(t, func(*http.Request) {}); a.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d", protocol, a.status)
		}
		if a := person.visit(t, password(loginPassword)); a.status != http.StatusOK {
			t.Errorf("%s: who has logged in here gets %d", protocol, a.status)
		}
		for form := range keyForms {
			if a := program.visit(t, key(form, annsKey)); a.status != http.StatusOK {
				t.Errorf("%s: whose key has opened here, %s, gets %d", protocol, form, a.status)
			}
		}
		elsewhere := visitor{g, client, "198.51.100.1", ""}
		if a := elsewhere.visit(t, password(loginPassword)); a.status != http.StatusOK {
			t.Errorf("%s: who comes from elsewhere gets %d", protocol, a.status)
		}
		// The cookie opens nothing by itself, and nothing but the password that it is for.
		guesser.cookie = person.cookie
		if a := guesser.visit(t, password("wrong-5")); a.status != http.StatusTooManyRequests {
			t.Errorf("%s: got %d", protocol, a.status)
		}
	}
	checkLockoutsAreTold(t, g, len(protocols))
}

// checkLockoutsAreTold checks what operators see of so many addresses that are locked out, and what they must not see.
func checkLockoutsAreTold(t *testing.T, g *gateway, addresses int) {
	t.Helper()
	warnings := g.logged("an address is locked out after too many wrong passwords or keys")
	if len(warnings) != addresses {
		t.Errorf("there are %d warnings for %d addresses", len(warnings), addresses)
	}
	for i, entry := range warnings {
		if entry["level"] != "warn" || entry["client"] != fmt.Sprintf("192.0.2.%d", i+1) {
			t.Errorf("got %v", entry)
		}
	}
	text, err := json.Marshal(statusReport())
	if err != nil {
		t.Fatal(err)
	}
	if got := gjson.GetBytes(text, "lockouts.#(until>2020).client").Str; got != "192.0.2.1" || gjson.GetBytes(text, "lockouts.#").Int() != int64(addresses) {
		t.Errorf("got %s", gjson.GetBytes(text, "lockouts"))
	}
	families := g.families()
	for name, least := range map[string]float64{"caddy_llm_lockouts_total": float64(addresses), "caddy_llm_lockout_refusals_total": 8 * float64(addresses)} {
		if family := families[name]; family == nil || family.GetMetric()[0].GetCounter().GetValue() < least {
			t.Errorf("%s: got %v", name, family)
		}
	}
	log, err := os.ReadFile(g.logFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{annsKey, bensKey, unknownKey, loginPassword, "wrong-"} {
		if i := bytes.Index(log, []byte(secret)); i >= 0 {
			t.Errorf("%s is logged: %s", secret, log[max(0, i-300):i+len(secret)])
		}
	}
}

// Whoever has a key does not guess passwords by showing it beside them, wherever the two have been shown before.
func TestAKeyLetsNoGuessesIn(t *testing.T) {
	g := newGateway(t)
	g.start(guardedSite(t, g, "1h"))
	client := g.client("HTTP/1.1")
	guess := func(i int) string {
		login := http.Request{Header: make(http.Header)}
		login.SetBasicAuth("carl", fmt.Sprint("wrong-", i))
		return login.Header.Get("Authorization")
	}
	for name, show := range map[string]func(req *http.Request, i int){
		"beside it in x-api-key": func(req *http.Request, i int) { req.Header["X-Api-Key"] = []string{annsKey, guess(i)} },
		"as a bearer's": func(req *http.Request, i int) {
			req.Header["Authorization"] = []string{"Bearer " + guess(i), "Bearer " + annsKey}
		},
		"behind it in the path": func(req *http.Request, i int) {
			req.URL.Path = "/k/" + annsKey + "/"
			req.Header.Set("Authorization", "Bearer "+guess(i))
		},
	} {
		v := visitor{g, client, "192.0.2." + strconv.Itoa(len(name)), ""}
		for i := range 8 {
			if a := v.visit(t, func(req *http.Request) { show(req, i) }); a.status != http.StatusOK || v.cookie != "" {
				t.Fatalf("%s: got %d, cookie %q", name, a.status, v.cookie)
			}
		}
		for i := range 8 {
			want := http.StatusTooManyRequests
			if i < 2 { // two guesses, and the key that is no password
				want = http.StatusUnauthorized
			}
			a := v.visit(t, func(req *http.Request) { req.Header["Authorization"] = []string{guess(i), "Bearer " + annsKey} })
			if a.status != want {
				t.Errorf("%s: guess %d: got %d", name, i, a.status)
			}
		}
	}
}

// A program shows a key and something else beside it, as Bytebot's does. The key goes on to open without that.
func TestAKeyGoesOnToOpenWhateverIsBesideIt(t *testing.T) {
	g := newGateway(t)
	g.start(guardedSite(t, g, "1h"))
	program, guesser := visitor{g, g.client("HTTP/1.1"), "192.0.2.1", ""}, visitor{g, g.client("HTTP/1.1"), "192.0.2.1", ""}
	ask := func(constant string) answer {
		return program.visit(t, func(req *http.Request) {
			req.URL.Path = "/k/" + annsKey + "/"
			req.Header.Set("Authorization", "Bearer "+constant)
		})
	}
	for i := range 4 {
		if a := ask("constant"); a.status != http.StatusOK || a.header.Get("Set-Cookie") != "" {
			t.Errorf("got %d, %v", a.status, a.header)
		}
		guesser.visit(t, password(fmt.Sprint("wrong-", i)))
	}
	if a := guesser.visit(t, password("wrong-5")); a.status != http.StatusTooManyRequests {
		t.Errorf("got %d", a.status)
	}
	for _, constant := range []string{"constant", "another"} {
		if a := ask(constant); a.status != http.StatusOK {
			t.Errorf("%s: got %d", constant, a.status)
		}
	}
	// The path is as it came.
	a := program.visit(t, func(req *http.Request) {
		req.URL.Path = "/k/" + bensKey + "/"
		req.Header.Set("X-Api-Key", annsKey)
	})
	if a.status != http.StatusTooManyRequests {
		t.Errorf("got %d", a.status)
	}
}

func TestALockoutEnds(t *testing.T) {
	g := newGateway(t)
	g.start(guardedSite(t, g, "1s"))
	guesser := visitor{g, g.client("HTTP/2.0"), "192.0.2.1", ""}
	for i := range 3 {
		guesser.visit(t, password(fmt.Sprint("wrong-", i)))
	}
	await(t, "the end", func() bool { return guesser.visit(t, password(loginPassword)).status == http.StatusOK })
}

func TestLockoutsSurviveReloads(t *testing.T) {
	g := newGateway(t)
	site := guardedSite(t, g, "1h")
	g.start(site)
	person, guesser := visitor{g, g.client("HTTP/1.1"), "192.0.2.1", ""}, visitor{g, g.client("HTTP/1.1"), "192.0.2.1", ""}
	person.visit(t, password(loginPassword))
	for i := range 4 {
		want := http.StatusUnauthorized
		if i == 3 {
			want = http.StatusTooManyRequests
		}
		if a := guesser.visit(t, password(fmt.Sprint("wrong-", i))); a.status != want {
			t.Errorf("guess %d: got %d", i, a.status)
		}
		if err := g.reload(site); err != nil {
			t.Fatal(err)
		}
		person.client, guesser.client = g.client("HTTP/1.1"), g.client("HTTP/1.1")
	}
	if a := person.visit(t, password(loginPassword)); a.status != http.StatusOK {
		t.Errorf("got %d", a.status)
	}
	// Other settings are another count.
	if err := g.reload(strings.Replace(site, "attempts 3", "attempts 4", 1)); err != nil {
		t.Fatal(err)
	}
	guesser.client = g.client("HTTP/1.1")
	if a := guesser.visit(t, password("wrong-5")); a.status != http.StatusUnauthorized {
		t.Errorf("got %d", a.status)
	}
}

// What is refused behind the login is nobody's guess.
func TestRefusalsOfOthersAreNoGuesses(t *testing.T) {
	g := newGateway(t)
	g.start(guardedSite(t, g, "1h"))
	client := visitor{g, g.client("HTTP/2.0"), "192.0.2.1", ""}
	for range 5 {
		for _, dress := range []func(*http.Request){password(loginPassword), key("bearer", annsKey), key("path", bensKey)} {
			a := client.visit(t, func(req *http.Request) {
				req.URL.Path = "/upstream-refuses"
				dress(req)
			})
			if a.status != http.StatusUnauthorized {
				t.Fatalf("got %d", a.status)
			}
		}
	}
}

// Many guesses at once are looked at no more than one after the other.
func TestGuessesAtOnceAreLockedOutToo(t *testing.T) {
	looked := make(chan struct{}, 100)
	release := make(chan struct{})
	judge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		looked <- struct{}{}
		<-release
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer judge.Close()
	g := newGateway(t)
	g.start(`route {
		llm_lockout {
			attempts 4
			duration 2h
		}
		reverse_proxy ` + strings.TrimPrefix(judge.URL, "http://") + `
	}`)
	client := visitor{g, g.client("HTTP/2.0"), "", ""}
	statuses := make(chan int, 12)
	for i := range 12 {
		go func() {
			a, err := client.ask(t.Context(), password(fmt.Sprint("wrong-", i)))
			if err != nil {
				t.Error(err)
			}
			statuses <- a.status
		}()
	}
	for range 8 {
		if got := <-statuses; got != http.StatusTooManyRequests {
			t.Errorf("got %d", got)
		}
	}
	close(release)
	for range 4 {
		if got := <-statuses; got != http.StatusUnauthorized {
			t.Errorf("got %d", got)
		}
	}
	if got := len(looked); got != 4 {
		t.Errorf("%d were looked at", got)
	}
	if a := client.visit(t, password("wrong-12")); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "1" {
		t.Errorf("got %d, Retry-After %s", a.status, a.header.Get("Retry-After"))
	}
}

// Behind basic_auth alone nobody looks at x-api-key or a path. What is refused is not routed in another way for it.
func TestWhoIsRefusedIsNotRoutedAnew(t *testing.T) {
	t.Setenv("LOGIN_HASH", "$2a$04$9QX6UJmhkCoPGOJpZlKE3.cTkCGgHDBd7vwALIYGWiXJUvwx7bnfq")
	g := newGateway(t)
	g.start(`route {
		llm_lockout {
			attempts 1
		}
		@secret path /secret
		basic_auth @secret {
			carl {env.LOGIN_HASH}
		}
		@keyed path /k/*
		basic_auth @keyed {
			carl {env.LOGIN_HASH}
		}
		respond "a page" 200
	}`)
	v := visitor{g, g.client("HTTP/2.0"), "", ""}
	at := func(path string) func(*http.Request) {
		return func(req *http.Request) {
			req.URL.Path = path
			req.SetBasicAuth("carl", "wrong-"+path)
		}
	}
	if a := v.visit(t, at("/secret")); a.status != http.StatusUnauthorized {
		t.Errorf("got %d", a.status)
	}
	for _, path := range []string{"/secret", "/k/" + unknownKey + "/secret", "/k/" + unknownKey + "/open", "/k/" + unknownKey + "/k/" + annsKey} {
		if a := v.visit(t, at(path)); a.status != http.StatusTooManyRequests {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	await(t, "entries of the log", func() bool { return g.handled() >= 5 })
	for _, entry := range g.logged("handled request") {
		if text, _ := json.Marshal(entry); bytes.Contains(text, []byte(unknownKey)) {
			t.Errorf("a key is logged: %s", text)
		}
	}
	if got := g.handled(); got != 5 {
		t.Errorf("there are %d entries for 5 requests", got)
	}
}

func TestTheTokenGoesNoFurther(t *testing.T) {
	for name, test := range map[string]struct {
		lines, left []string
		token       string
	}{
		"alone":           {[]string{"llm_known=abc"}, nil, "abc"},
		"first":           {[]string{"llm_known=abc; theme=dark"}, []string{"theme=dark"}, "abc"},
		"in between":      {[]string{"a=1; llm_known=abc; b=2"}, []string{"a=1; b=2"}, "abc"},
		"in two lines":    {[]string{"a=1", "llm_known=abc; b=2", "llm_known=abc"}, []string{"a=1", "b=2"}, "abc"},
		"twice":           {[]string{"llm_known=x; llm_known=abc;"}, nil, "abc"},
		"absent":          {[]string{"a=1; b=2"}, []string{"a=1; b=2"}, ""},
		"of another name": {[]string{"not_llm_known=abc; b=2"}, []string{"not_llm_known=abc; b=2"}, ""},
		"no cookie":       {nil, nil, ""},
	} {
		header := make(http.Header)
		for _, line := range test.lines {
			header.Add("Cookie", line)
		}
		if got := takeToken(header); got != test.token || !slices.Equal(header.Values("Cookie"), test.left) {
			t.Errorf("%s: got %q, left %q", name, got, header.Values("Cookie"))
		}
	}
}
