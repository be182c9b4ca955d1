package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser starts a Chromium that takes the door's certificates, and returns a tab of it. It ends with the test.
func (d *door) browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		const what = "there is no chromium; `make test` installs it"
		if os.Getenv("CI") != "" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	if testing.Short() {
		t.Skip("starts Chromium")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.DisableGPU,
		chromedp.IgnoreCertErrors, // Caddy's own authority is not this machine's
		// Nothing but the test's servers is to be called.
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1"), chromedp.Flag("disable-dev-shm-usage", true),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	tab, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	return tab
}

// show opens a page in a tab and returns its title.
func show(t *testing.T, tab context.Context, url string) string {
	t.Helper()
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	title, err := chromedp.Run(tab, chromedp.Title())
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return title
}

// logIn opens a site with the password, which the browser then knows, goes to its page, and waits until that has connected.
func logIn(t *testing.T, tab context.Context, site string) {
	t.Helper()
	show(t, tab, strings.Replace(site, "://", "://admin:"+loginPassword+"@", 1)+"/tasks")
	if title := show(t, tab, site+"/"); title != "ui" {
		t.Fatalf("%s: the page is %q", site, title)
	}
	converse(t, tab)
}

// converse says something over both of the page's websockets, and hears it again.
func converse(t *testing.T, tab context.Context) {
	t.Helper()
	for _, socket := range []string{"events", "screen"} {
		if got := evaluate(t, tab, `echo(`+socket+`, "hello")`); got != "hello" && got != "[object Blob]" {
			t.Errorf("%s: got %q", socket, got)
		}
	}
}

// evaluate runs JavaScript in a tab, waits for the promise it returns, and returns what that becomes as text.
func evaluate(t *testing.T, tab context.Context, script string) string {
	t.Helper()
	script = "Promise.resolve(" + script + ").then(String, error => 'error: ' + error)"
	result, err := chromedp.Run(tab, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return result
}

func TestABrowserWorksThroughTheDoor(t *testing.T) {
	d := openDoor(t)
	for _, site := range []string{d.url("https", "bytebot.localhost", "HTTPS_PORT"), d.url("http", "localhost", "BYTEBOT_UI_PORT")} {
		t.Run(strings.SplitN(site, ":", 2)[0], func(t *testing.T) {
			tab := d.browser(t)
			logIn(t, tab, site)
			if got := evaluate(t, tab, `fetch("/api/tasks", {method: "POST", body: "{}"}).then(r => r.status)`); got != "200" {
				t.Errorf("creating a task: got %s", got)
			}
			if got := evaluate(t, tab, `fetch("/computer-use", {method: "POST", body: "{}"}).then(r => r.status)`); got != "404" {
				t.Errorf("the desktop's control: got %s", got)
			}
			// What is open stays open when the configuration is loaded again.
			d.reloadRepository(t)
			converse(t, tab)
			if title := show(t, tab, site+"/"); title != "ui" {
				t.Errorf("the page is %q", title)
			}
			converse(t, tab)
		})
	}
}

// reloadRepository loads the door's configuration again.
func (d *door) reloadRepository(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), executable(t), "reload", "--config", "Caddyfile", "--force", "--address", d.admin)
	cmd.Dir, cmd.Env = repository, repositoryEnv(d.gateway, d.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("reloading: %v\n%s", err, out)
	}
}

func TestABrowserOnAnotherSiteIsKeptOut(t *testing.T) {
	d := openDoor(t)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<!doctype html><title>evil</title>")
	}))
	defer evil.Close()
	tab := d.browser(t)
	for _, site := range []string{d.url("https", "bytebot.localhost", "HTTPS_PORT"), d.url("http", "localhost", "BYTEBOT_UI_PORT")} {
		logIn(t, tab, site) // the browser knows the password from here on
		if title := show(t, tab, strings.Replace(evil.URL, "127.0.0.1", "evil.localhost", 1)); title != "evil" {
			t.Fatalf("the page is %q", title)
		}
		d.reached()
		for _, path := range sockets {
			script := fmt.Sprintf(`new Promise(resolve => {
				const socket = new WebSocket(%q, "binary");
				socket.onopen = () => resolve("open");
				socket.onclose = () => resolve("refused");
			})`, strings.Replace(site, "http", "ws", 1)+path)
			if got := evaluate(t, tab, script); got != "refused" {
				t.Errorf("%s%s: got %s", site, path, got)
			}
		}
		for _, request := range []string{
			`{method: "POST", body: "{}", mode: "no-cors", credentials: "include"}`,
			`{method: "POST", body: "{}", credentials: "include"}`,
			`{method: "GET", credentials: "include"}`,
			`{method: "DELETE", credentials: "include"}`,
		} {
			got := evaluate(t, tab, fmt.Sprintf(`fetch(%q, %s).then(r => r.status)`, site+"/api/tasks", request))
			if got != "0" && !strings.HasPrefix(got, "error") { // no-cors hides the status
				t.Errorf("%s: got %s", request, got)
			}
		}
		form := fmt.Sprintf(`new Promise(resolve => {
			const frame = document.createElement("iframe");
			frame.name = "target";
			frame.onload = () => resolve("loaded");
			document.body.append(frame);
			const form = document.createElement("form");
			form.method = "post"; form.action = %q; form.target = "target";
			document.body.append(form);
			form.submit();
		})`, site+"/api/tasks")
		evaluate(t, tab, form)
		if reached := d.reached(); len(reached) > 0 {
			t.Errorf("%s: reached %q", site, reached)
		}
	}
}

func TestABrowserWithoutThePasswordSeesNothing(t *testing.T) {
	d := openDoor(t)
	tab := d.browser(t)
	// Without somebody to ask, the question for a password ends in an error.
	_ = chromedp.Do(tab, chromedp.Navigate(d.url("https", "bytebot.localhost", "HTTPS_PORT")+"/"))
	if title, err := chromedp.Run(tab, chromedp.Title()); err != nil || title == "ui" {
		t.Errorf("got %q, %v", title, err)
	}
	if reached := d.reached(); len(reached) > 0 {
		t.Errorf("reached %q", reached)
	}
}
