package compose

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A variable that a file uses, and what it is if it is not set.
type use struct{ name, fallback string }

var (
	inCompose   = regexp.MustCompile(`\$\{([A-Z][A-Z0-9_]*)(?::[-?]([^}]*))?\}`)
	inCaddyfile = regexp.MustCompile(`\{\$([A-Z][A-Z0-9_]*)(?::([^}]*))?\}|\{env\.([A-Z][A-Z0-9_]*)\}`)
)

func uses(t *testing.T, pattern *regexp.Regexp, files ...string) []use {
	t.Helper()
	var found []use
	for path, text := range sources(t, files...) {
		before := len(found)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for _, match := range pattern.FindAllStringSubmatch(line, -1) {
				u := use{name: match[1], fallback: match[2]}
				if u.name == "" {
					u.name = match[3]
				}
				found = append(found, u)
			}
		}
		if len(found) == before && path == files[0] {
			t.Errorf("%s uses no variable", path)
		}
	}
	return found
}

func TestVariablesOfComposeAreDescribed(t *testing.T) {
	described := described(t)
	used := map[string]bool{}
	for _, u := range uses(t, inCompose, "compose.yml", "compose.gateway.yml", "deploy/compose/*.yml") {
		used[u.name] = true
		value, ok := described[u.name]
		switch {
		case !ok:
			t.Errorf(".env.example does not describe %s", u.name)
		case strings.Contains(u.fallback, "./setup.sh"), u.name == "LLM_MEMORY": // which differs by profile
		case value != u.fallback:
			t.Errorf("%s is %q in .env.example and %q without it", u.name, value, u.fallback)
		}
	}
	inDoor := map[string]bool{}
	for _, u := range uses(t, inCaddyfile, "Caddyfile", "deploy/caddy/*.caddy") {
		inDoor[u.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		if !used[name] && !inDoor[name] {
			t.Errorf(".env.example describes %s, which nothing uses", name)
		}
	}
}

// TestVariablesOfTheCaddyfileAreDescribed checks that caddy's container gets what the Caddyfile asks for, and that .env.example
// has it too, with the same default.
func TestVariablesOfTheCaddyfileAreDescribed(t *testing.T) {
	// What a container has no use for changing, and so is in the Caddyfile's own words only.
	fixed := []string{
		"BYTEBOT_DESKTOP", "BYTEBOT_UI", "DESK_PORT", "LLM_AGENT_PORT", "LLM_API_PORT", "LLM_BIND", "LLM_PRIVATE_BIND",
	}
	// What means the machine's port outside and the container's inside, see compose.yml.
	published := []string{"HTTP_PORT", "HTTPS_PORT", "LLM_PORT", "BYTEBOT_UI_PORT"}
	described := described(t)
	given := load(t, "compose.yml", nil).Services["caddy"].Environment
	for _, u := range uses(t, inCaddyfile, "Caddyfile", "deploy/caddy/*.caddy") {
		if slices.Contains(fixed, u.name) {
			continue
		}
		if _, ok := given[u.name]; !ok && !slices.Contains(published, u.name) {
			t.Errorf("compose.yml does not give %s to caddy", u.name)
		}
		value, ok := described[u.name]
		switch {
		case !ok:
			t.Errorf(".env.example does not describe %s", u.name)
		case u.fallback != "" && value != u.fallback:
			t.Errorf("%s is %q in .env.example and %q in the Caddyfile", u.name, value, u.fallback)
		}
	}
}

// TestVariablesHaveALineEach checks that each variable of .env.example comes after a comment, which says what it does.
func TestVariablesHaveALineEach(t *testing.T) {
	lines := strings.Split(sources(t, ".env.example")[".env.example"], "\n")
	for i, line := range lines {
		if regexp.MustCompile(`^#?[A-Z_]+=`).MatchString(line) && (i == 0 || !strings.HasPrefix(lines[i-1], "# ")) {
			t.Errorf("%s has no comment", line)
		}
	}
}

// TestSeedsVariablesAreThere checks the variables that the first layout of this project named.
func TestSeedsVariablesAreThere(t *testing.T) {
	described := described(t)
	for _, name := range []string{
		"HF_API_KEY", "HF_MODEL", "OPENROUTER_API_KEY", "OPENROUTER_MODEL", "LOCAL_MODEL_PATH",
		"DATABASE_URL", "BYTEBOT_DESKTOP_BASE_URL", "BYTEBOT_AGENT_BASE_URL",
	} {
		if _, ok := described[name]; !ok {
			t.Errorf(".env.example lacks %s", name)
		}
	}
}
