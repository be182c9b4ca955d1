package caddymodule

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

var frontCases = []frontCase{
	{
		name: "order", env: withStarter,
		yaml:      edits{{"timeout_ms: 30000", "timeout_ms: 180000"}},
		caddyfile: edits{{"first_token_timeout 30s", "first_token_timeout 3m"}},
		check: func(t *testing.T, f *front) {
			a := f.ask(chat("auto", "The code word is maple.", false))
			f.answered(a, "local")
			if a.text() != "The code word is: maple" {
				t.Errorf("got %q", a.text())
			}
			f.answered(f.ask(hello("auto", 1), "X-LLM-Provider: hf"), "hf")
			f.answered(f.ask(hello("local", 2, `"max_tokens":4`)), "local")
			f.counted(1, 0)
			if got := f.names(); got != "auto hf local openrouter" {
				t.Errorf("listed: %s", got)
			}
		},
	},
	{
		name: "another order", env: withStarter,
		yaml: edits{{"priority: [local, hf, openrouter]", "priority: [openrouter, hf, local]"}, {"timeout_ms: 30000", "timeout_ms: 180000"}},
		caddyfile: edits{
			{"to local hf/{env.HF_MODEL} openrouter/{env.OPENROUTER_MODEL}", "to openrouter/{env.OPENROUTER_MODEL} hf/{env.HF_MODEL} local"},
			{"first_token_timeout 30s", "first_token_timeout 3m"},
		},
		check: func(_ *testing.T, f *front) {
			f.answered(f.ask(hello("auto", 1)), "openrouter")
			f.openrouter.answer, f.hf.answer = outOfOrder, outOfOrder
			f.answered(f.ask(hello("auto", 2, `"max_tokens":4`)), "local")
			f.counted(1, 2)
		},
	},
	{
		name: "fallback", env: map[string]string{"LOCAL_MODEL_PATH": "/nonexistent/model.gguf"},
		services: func(f *front) { f.hf.answer = outOfOrder },
		check: func(t *testing.T, f *front) {
			a := f.ask(hello("auto", 1))
			f.answered(a, "openrouter")
			if a.text() != goodText {
				t.Errorf("got %q", a.text())
			}
			f.counted(1, 1)
			f.openrouter.answer = outOfOrder
			f.refused(f.ask(hello("auto", 2)), http.StatusBadGateway, "local", "hf", "openrouter")
		},
	},
	{
		name:      "timeout",
		yaml:      edits{{"timeout_ms: 30000", "timeout_ms: 2000"}},
		caddyfile: edits{{"first_token_timeout 30s", "first_token_timeout 2s"}},
		services:  func(f *front) { f.hf.answer = stuck },
		check: func(_ *testing.T, f *front) {
			f.answered(f.ask(hello("auto", 1)), "openrouter")
			f.counted(1, 1)
		},
	},
	{
		name:      "no retries",
		yaml:      edits{{"max_retries: 2", "max_retries: 0"}},
		caddyfile: edits{{"lb_retries 2", "lb_retries 0"}},
		services:  func(f *front) { f.hf.answer = outOfOrder },
		check: func(_ *testing.T, f *front) {
			f.refused(f.ask(hello("auto", 1)), http.StatusBadGateway, "hf")
			f.counted(1, 0)
		},
	},
	{
		name:      "retries of the only one",
		yaml:      edits{{"priority: [local, hf, openrouter]", "priority: [hf]"}},
		caddyfile: edits{{"to local hf/{env.HF_MODEL} openrouter/{env.OPENROUTER_MODEL}", "to hf/{env.HF_MODEL}"}},
		services:  func(f *front) { f.hf.answer = outOfOrder },
		check: func(_ *testing.T, f *front) {
			f.refused(f.ask(hello("auto", 1)), http.StatusBadGateway, "hf")
			f.counted(3, 0)
			f.answered(f.ask(hello("openrouter", 2)), "openrouter") // which can still be named
		},
	},
	{
		name: "cache",
		check: func(t *testing.T, f *front) {
			if a := f.ask(hello("auto", 1)); a.header.Get("X-Cache") != "MISS" {
				t.Errorf("the first time: %v", a.header)
			}
			await(t, "kept answer", func() bool { return f.ask(hello("auto", 1)).header.Get("X-Cache") == "HIT" })
			f.counted(1, 0)
			a := f.ask(hello("auto", 1))
			f.answered(a, "hf")
			if a.header.Get("X-Cache") != "HIT" || a.text() != goodText {
				t.Errorf("got %s %q", a.header.Get("X-Cache"), a.text())
			}
			f.answered(f.ask(hello("auto", 2)), "hf")
			f.counted(2, 0)
		},
	},
	{
		name:      "cache of one answer",
		yaml:      edits{{"max_size: 1000", "max_size: 1"}},
		caddyfile: edits{{"max_entries 1000", "max_entries 1"}},
		check: func(t *testing.T, f *front) {
			hits := func() (hits int) {
				for i := range 3 {
					if f.ask(hello("auto", i)).header.Get("X-Cache") == "HIT" {
						hits++
					}
				}
				return hits
			}
			hits()
			// It forgets behind the requests' back.
			await(t, "forgotten answer", func() bool { return hits() < 3 })
		},
	},
	{
		name:      "cache for a second",
		yaml:      edits{{"ttl_seconds: 3600", "ttl_seconds: 1"}, {"requests_per_minute: 60", "requests_per_minute: 100000"}},
		caddyfile: edits{{"ttl 1h", "ttl 1s"}, {"events 60", "events 100000"}},
		check: func(t *testing.T, f *front) {
			f.answered(f.ask(hello("auto", 1)), "hf")
			await(t, "new answer", func() bool {
				return f.ask(hello("auto", 1)).header.Get("X-Cache") == "MISS" && f.hf.asked.Load() == 2
			})
		},
	},
	{
		name:      "no cache",
		yaml:      edits{{"cache:\n  enabled: true", "cache:\n  enabled: false"}},
		caddyfile: edits{{"cache memory {\n\t\t\t\tmax_entries 1000\n\t\t\t\tttl 1h\n\t\t\t}", ""}},
		check: func(t *testing.T, f *front) {
			for range 2 {
				if a := f.ask(hello("auto", 1)); a.header.Get("X-Cache") == "HIT" {
					t.Error("a request is answered from a cache")
				}
			}
			f.counted(2, 0)
		},
	},
	{
		name:      "limit",
		yaml:      edits{{"requests_per_minute: 60", "requests_per_minute: 2"}},
		caddyfile: edits{{"events 60", "events 2"}},
		check: func(t *testing.T, f *front) {
			for i := range 2 {
				f.answered(f.ask(hello("auto", i)), "hf")
			}
			a := f.ask(hello("auto", 3))
			f.refused(a, http.StatusTooManyRequests)
			after, err := strconv.Atoi(a.header.Get("Retry-After"))
			if err != nil || after < 1 || after > 60 || gjson.Get(a.body, "error.code").Str != "rate_limit_exceeded" ||
				gjson.Get(a.body, "error.type").Str != "rate_limit_error" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
				t.Errorf("got %v %s", a.header, a.body)
			}
			for _, path := range []string{"/health", "/v1/models"} {
				if a := f.send(http.MethodGet, path, ""); a.status != http.StatusOK {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
			}
			f.counted(2, 0)
		},
	},
	{
		name:      "no limit",
		yaml:      edits{{"rate_limit:\n  enabled: true\n  requests_per_minute: 60", "rate_limit:\n  enabled: false\n  requests_per_minute: 2"}},
		caddyfile: edits{{"rate_limit @post {\n\t\t\tzone by_hand {\n\t\t\t\tkey all\n\t\t\t\tevents 60\n\t\t\t\twindow 1m\n\t\t\t}\n\t\t}", ""}},
		check: func(_ *testing.T, f *front) {
			for i := range 5 {
				f.answered(f.ask(hello("auto", i)), "hf")
			}
		},
	},
	{
		name: "disabled provider",
		yaml: edits{{"model: ${HF_MODEL}\n    enabled: true", "model: ${HF_MODEL}\n    enabled: false"}},
		caddyfile: edits{
			{"provider hf huggingface {\n\t\t\t\tbase_url {env.HF_BASE_URL}\n\t\t\t\tapi_key {env.HF_API_KEY}\n\t\t\t}", ""},
			{"to local hf/{env.HF_MODEL} openrouter", "to local openrouter"},
			{"model hf {\n\t\t\t\tto hf/{env.HF_MODEL}\n\t\t\t}", ""},
		},
		check: func(t *testing.T, f *front) {
			f.answered(f.ask(hello("auto", 1)), "openrouter")
			f.refused(f.ask(hello("auto", 2), "X-LLM-Provider: hf"), http.StatusBadRequest, `not offered by provider "hf"`, "local, openrouter")
			f.refused(f.ask(hello("hf", 3)), http.StatusNotFound, "auto, local, openrouter")
			f.counted(0, 1)
			if health := f.send(http.MethodGet, "/health", ""); health.status != http.StatusOK || gjson.Get(health.body, "providers.hf").Exists() {
				t.Errorf("health: %d %s", health.status, health.body)
			}
		},
	},
	{
		name: "named provider",
		check: func(_ *testing.T, f *front) {
			f.answered(f.ask(hello("auto", 1)), "hf")
			f.answered(f.ask(hello("auto", 2), "X-LLM-Provider: openrouter"), "openrouter")
			f.answered(f.ask(hello("auto", 3, `"provider":"openrouter"`)), "openrouter")
			f.answered(f.ask(hello("openrouter/auto", 4)), "openrouter")
			f.answered(f.ask(hello("openrouter", 5)), "openrouter")
			f.counted(1, 4)
			f.refused(f.ask(hello("auto", 6, `"provider":"nobody"`)), http.StatusBadRequest, `not offered by provider "nobody"`)
			f.openrouter.answer = outOfOrder
			f.refused(f.ask(hello("openrouter/auto", 7)), http.StatusBadGateway, "openrouter") // nobody else is asked
			if f.hf.asked.Load() != 1 {
				f.t.Error("hf was asked")
			}
		},
	},
	{
		name:      "auto_pick off",
		yaml:      edits{{"auto_pick:\n  enabled: true", "auto_pick:\n  enabled: false"}},
		caddyfile: edits{{"model auto {", "model auto {\n\t\t\t\tauto_pick off"}},
		check: func(t *testing.T, f *front) {
			f.refused(f.ask(hello("auto", 1)), http.StatusBadRequest, "name one", "X-LLM-Provider", "local, hf, openrouter")
			f.counted(0, 0)
			f.answered(f.ask(hello("auto", 2), "X-LLM-Provider: openrouter"), "openrouter")
			f.answered(f.ask(hello("hf/auto", 3)), "hf")
			f.answered(f.ask(hello("hf", 4)), "hf")
			f.counted(2, 1)
			f.hf.answer = outOfOrder
			f.refused(f.ask(hello("auto", 5, `"provider":"hf"`)), http.StatusBadGateway, "hf")
			if f.openrouter.asked.Load() != 1 {
				t.Error("openrouter was asked")
			}
			if got := f.names(); got != "hf local openrouter" {
				t.Errorf("listed: %s", got)
			}
		},
	},
	{
		name: "variables that are not set", env: map[string]string{"HF_API_KEY": "", "OPENROUTER_MODEL": ""},
		check: func(t *testing.T, f *front) {
			f.refused(f.ask(hello("auto", 1)), http.StatusServiceUnavailable, "{env.LOCAL_MODEL_PATH} is empty", "{env.HF_API_KEY} is empty", "{env.OPENROUTER_MODEL} is empty")
			f.counted(0, 0)
			health := f.send(http.MethodGet, "/health", "")
			for path, want := range map[string]string{
				"providers.local.state": "disabled", "providers.hf.state": "disabled", "providers.hf.detail": "api_key {env.HF_API_KEY} is empty",
				"models.auto.targets.2.state": "disabled", "models.auto.targets.2.reason": "model {env.OPENROUTER_MODEL} is empty",
			} {
				if got := gjson.Get(health.body, path).Str; got != want {
					t.Errorf("health: %s is %q, want %q", path, got, want)
				}
			}
			if health.status != http.StatusServiceUnavailable {
				t.Errorf("health: %d", health.status)
			}
		},
	},
	{
		name: "pages from elsewhere",
		check: func(_ *testing.T, f *front) {
			for header, want := range map[string]int{
				"Origin: https://evil.example": http.StatusForbidden, "Origin: null": http.StatusForbidden, "Origin: http://localhost.evil.example": http.StatusForbidden,
				"Host: evil.example": http.StatusMisdirectedRequest, "Origin: http://localhost:3000": http.StatusOK,
			} {
				if a := f.ask(hello("auto", 1), header); a.status != want {
					f.t.Errorf("%s: got %d %s, want %d", header, a.status, a.body, want)
				}
			}
			f.counted(1, 0)
		},
	},
	{
		name: "clients with keys", env: map[string]string{"ANN_KEY": "ann-planted-0123456789", "BEN_KEY": "ben-planted-0123456789"},
		yaml: edits{
			{"\nproviders:", "\nclients:\n  - {name: ann, api_key: \"${ANN_KEY}\"}\n  - {name: ben, api_key: \"${BEN_KEY}\"}\nproviders:"},
			{"requests_per_minute: 60", "requests_per_minute: 2"},
		},
		caddyfile: edits{
			{"llm_health /health*", "llm_health /health*\n\t\tllm_auth {\n\t\t\tkey ann {env.ANN_KEY}\n\t\t\tkey ben {env.BEN_KEY}\n\t\t}"},
			{"key all", "key {http.auth.user.id}"},
			{"events 60", "events 2"},
		},
		check: func(t *testing.T, f *front) {
			const ann, ben = "Authorization: Bearer ann-planted-0123456789", "X-Api-Key: ben-planted-0123456789"
			f.refused(f.ask(hello("auto", 1)), http.StatusUnauthorized, "key")
			f.refused(f.ask(hello("auto", 1), ann+"x"), http.StatusUnauthorized, "key")
			f.counted(0, 0)
			for i := range 2 {
				f.answered(f.ask(hello("auto", i), ann), "hf")
			}
			f.refused(f.ask(hello("auto", 3), ann), http.StatusTooManyRequests)
			f.answered(f.ask(hello("auto", 1), ben), "hf")
			f.counted(3, 0) // and ann's answer is not ben's
			if a := f.send(http.MethodGet, "/v1/models", ""); a.status != http.StatusUnauthorized {
				t.Errorf("models without a key: %d %s", a.status, a.body)
			}
			if a := f.send(http.MethodGet, "/health", ""); a.status != http.StatusOK {
				t.Errorf("health without a key: %d %s", a.status, a.body)
			}
			if strings.Contains(string(f.config), "planted") {
				t.Error("a key is in the configuration")
			}
		},
	},
	{
		name: "secrets",
		services: func(f *front) {
			f.hf.answer = func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer "+hfKey {
					http.Error(w, "wrong key", http.StatusUnauthorized)
					return
				}
				good(w, r)
			}
		},
		check: func(t *testing.T, f *front) {
			f.answered(f.ask(hello("auto", 1)), "hf")
			if text := string(f.config); strings.Contains(text, hfKey) || strings.Contains(text, openrouterKey) || !strings.Contains(text, "{env.HF_API_KEY}") {
				t.Error("a key is in the configuration")
			}
		},
	},
}
