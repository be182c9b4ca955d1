// Package container checks how the image is made, and what starts in it.
package container

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

const root = "../.."

// An instruction of the Dockerfile, with the stage that it is in.
type instruction struct{ stage, word, rest string }

// dockerfile returns the instructions of the Dockerfile, with continued lines joined.
func dockerfile(t *testing.T) []instruction {
	t.Helper()
	text := read(t, "Dockerfile")
	text = regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	var all []instruction
	stage := ""
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" {
			continue
		}
		if word == "FROM" {
			_, stage, _ = strings.Cut(rest, " AS ")
		}
		all = append(all, instruction{stage, word, strings.Join(strings.Fields(rest), " ")})
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// last returns the last instruction of that name in the stages that the image consists of.
func last(t *testing.T, word string) string {
	t.Helper()
	found := ""
	for _, i := range dockerfile(t) {
		if i.word == word && (i.stage == "local" || i.stage == "remote-only") {
			found = i.rest
		}
	}
	if found == "" {
		t.Fatalf("the image has no %s", word)
	}
	return found
}

func TestImageRunsAsNobodyInParticular(t *testing.T) {
	if user := last(t, "USER"); !regexp.MustCompile(`^[1-9]\d{3,}:[1-9]\d{3,}$`).MatchString(user) {
		t.Errorf("it runs as %s; a number is clear to the engine without a file of users", user)
	}
	if volumes := last(t, "VOLUME"); !strings.Contains(volumes, `"/models"`) || !strings.Contains(volumes, `"/data"`) {
		t.Errorf("its volumes are %s", volumes)
	}
	if check := last(t, "HEALTHCHECK"); !strings.Contains(check, "llmgateway-healthcheck") {
		t.Errorf("its health check is %s", check)
	}
	labels := last(t, "LABEL")
	for _, label := range []string{
		"org.opencontainers.image.title", "org.opencontainers.image.description", "org.opencontainers.image.licenses",
		"org.opencontainers.image.version", "org.opencontainers.image.revision", "io.github.bytebot-llmgateway.sbom",
	} {
		if !strings.Contains(labels, label+"=") {
			t.Errorf("it has no label %s", label)
		}
	}
}

// TestDockerfileIsWhereItWas checks the place that the first layout of this project had for it.
func TestDockerfileIsWhereItWas(t *testing.T) {
	if read(t, "llmgateway/Dockerfile") != read(t, "Dockerfile") {
		t.Error("llmgateway/Dockerfile is another one")
	}
}

func TestDockerfilePinsWhatItStartsFrom(t *testing.T) {
	images := map[string]string{}
	stages := map[string]bool{}
	for _, i := range dockerfile(t) {
		switch {
		case i.word == "ARG" && i.stage == "":
			name, image, _ := strings.Cut(i.rest, "=")
			images["${"+name+"}"] = image
		case i.word == "FROM":
			from, _, _ := strings.Cut(i.rest, " AS ")
			if image := images[from]; !stages[from] && !regexp.MustCompile(`^\S+/\S+:\d+\.\d+[\w.-]*$`).MatchString(image) {
				t.Errorf("the stage %s starts from %q, which names no release", i.stage, image)
			}
			stages[i.stage] = true
		}
	}
	if !stages["local"] || !stages["remote-only"] {
		t.Errorf("a target is missing; there are %v", stages)
	}
}

func TestDockerfileLeavesNothingBehind(t *testing.T) {
	for _, i := range dockerfile(t) {
		switch i.word {
		case "ADD":
			t.Errorf("ADD %s may fetch or unpack", i.rest)
		case "ARG", "ENV":
			if regexp.MustCompile(`(?i)key|token|secret|passw`).MatchString(i.rest) {
				t.Errorf("%s %s would be in the image for everybody", i.word, i.rest)
			}
		case "RUN":
			if strings.Contains(i.rest, "apt-get install") && (!strings.Contains(i.rest, "--no-install-recommends") || !strings.Contains(i.rest, "rm -rf /var/lib/apt/lists/*")) {
				t.Errorf("RUN %s leaves more than it needs", i.rest)
			}
			if strings.Contains(i.rest, "curl") || strings.Contains(i.rest, "wget") {
				t.Errorf("RUN %s downloads without a pinned checksum", i.rest)
			}
		}
	}
}

// TestContextIsWhatIsCopied checks that .dockerignore lets through all that is copied, and that all else stays outside.
func TestContextIsWhatIsCopied(t *testing.T) {
	var allowed []string
	lines := strings.Split(read(t, ".dockerignore"), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" || strings.HasPrefix(line, "#") })
	if lines[0] != "*" {
		t.Fatal(".dockerignore does not begin with everything")
	}
	for _, line := range lines {
		if pattern, ok := strings.CutPrefix(line, "!"); ok {
			allowed = append(allowed, pattern)
		}
	}
	used := map[string]bool{}
	for _, i := range dockerfile(t) {
		if i.word != "COPY" || strings.Contains(i.rest, "--from=") {
			continue
		}
		words := strings.Fields(i.rest)
		for _, source := range words[:len(words)-1] {
			source = strings.TrimSuffix(source, "/")
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Error(err)
			}
			found := false
			for _, pattern := range allowed {
				if match, _ := filepath.Match(pattern, source); match {
					found, used[pattern] = true, true
				}
			}
			if !found {
				t.Errorf(".dockerignore keeps %s from the build", source)
			}
		}
	}
	for _, pattern := range allowed {
		if !used[pattern] {
			t.Errorf(".dockerignore lets %s through, which nothing copies", pattern)
		}
	}
}

// run runs one of the container's programs with stand-ins for hostname and caddy.
func run(t *testing.T, addresses string, env []string, program string, args ...string) (string, error) {
	t.Helper()
	bin := t.TempDir()
	for name, script := range map[string]string{
		"hostname": "#!/bin/sh\necho '" + addresses + " '\n",
		"caddy":    "#!/bin/sh\necho \"caddy $*\"\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH")}, env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestCaddyStartsOnlyWhereTheDesktopIsRefused(t *testing.T) {
	tests := []struct {
		name, subnet, addresses string
		want                    string
	}{
		{"in the subnet", "10.231.9.0/24", "10.89.0.4 10.231.9.2 fd00::2", "caddy run --config x"},
		{"its last address", "10.231.9.0/24", "10.231.9.255", "caddy run --config x"},
		{"a small subnet", "10.231.9.128/25", "10.231.9.129", "caddy run --config x"},
		{"a large subnet", "172.16.0.0/12", "172.31.255.1", "caddy run --config x"},
		{"one address", "10.0.0.1/32", "10.0.0.1", "caddy run --config x"},
		{"no subnet", "", "10.89.0.4", "caddy run --config x"},
		{"beside the subnet", "10.231.9.0/24", "10.231.10.2 10.89.0.4", "is not 10.231.9.0/24, but one of: 10.231.10.2 10.89.0.4"},
		{"the other half", "10.231.9.128/25", "10.231.9.127", "is not 10.231.9.128/25"},
		{"no network", "10.231.9.0/24", "", "is not 10.231.9.0/24"},
		{"not a subnet", "10.231.9.0", "10.231.9.2", "is not an IPv4 subnet"},
		{"too many bits", "10.231.9.0/33", "10.231.9.2", "is not an IPv4 subnet"},
		{"a command in it", "10.231.9.0/24;id", "10.231.9.2", "is not an IPv4 subnet"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := run(t, test.addresses, []string{"DESK_SUBNET=" + test.subnet}, "llmgateway-start", "run", "--config", "x")
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if started := strings.HasPrefix(test.want, "caddy"); started != (err == nil) || started != strings.Contains(got, "caddy run") {
				t.Errorf("started: %q, %v", got, err)
			}
		})
	}

	// Other commands have nothing to do with networks.
	if got, err := run(t, "10.89.0.4", []string{"DESK_SUBNET=10.231.9.0/24"}, "llmgateway-start", "hash-password"); got != "caddy hash-password" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHealthcheckTellsHealthFromSickness(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" || r.Host != "localhost" {
			status.Store(http.StatusNotFound)
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"LLM_PORT=" + address.Port()}
	if out, err := run(t, "", env, "llmgateway-healthcheck"); err != nil {
		t.Errorf("healthy: %v: %s", err, out)
	}
	status.Store(http.StatusServiceUnavailable)
	if out, err := run(t, "", env, "llmgateway-healthcheck"); err == nil || !strings.Contains(out, "503") {
		t.Errorf("sick: %v: %s", err, out)
	}
	server.Close()
	if out, err := run(t, "", env, "llmgateway-healthcheck"); err == nil {
		t.Errorf("gone: %s", out)
	}
}

func TestTheAdminAPIIsAskedFromInside(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.Host + r.URL.Path {
		case "GET " + r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() + "/llm/status":
			_, _ = io.WriteString(w, "{\"in_flight\":\n0}\n")
		case "POST " + r.Host + "/llm/cache/purge":
			_, _ = io.WriteString(w, "purged")
		default:
			http.Error(w, "nobody", http.StatusNotFound)
		}
	}))
	defer server.Close()
	env := []string{"CADDY_ADMIN=" + strings.TrimPrefix(server.URL, "http://")}
	for _, test := range []struct {
		args []string
		want string
		ok   bool
	}{
		{[]string{"/llm/status"}, "{\"in_flight\":\n0}", true},
		{[]string{"/llm/cache/purge", "POST"}, "purged", true},
		{[]string{"/llm/cache/purge"}, "nobody\nllmgateway-admin: HTTP/1.0 404 Not Found", false},
		{nil, "llmgateway-admin: say what to ask, such as /llm/status, or /llm/cache/purge POST", false},
	} {
		if got, err := run(t, "", env, "llmgateway-admin", test.args...); got != test.want || (err == nil) != test.ok {
			t.Errorf("%q: got %q, %v", test.args, got, err)
		}
	}
	if _, err := os.Stat("llmgateway-admin"); err != nil || !strings.Contains(read(t, "Dockerfile"), "llmgateway-admin ") {
		t.Errorf("the image has no llmgateway-admin: %v", err)
	}
}
