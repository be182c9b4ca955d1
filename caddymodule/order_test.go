package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"
)

// TestModelsOfARequestAreAskedInItsOrder looks at what providers get of a list of models.
func TestModelsOfARequestAreAskedInItsOrder(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	seen := func(answer http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			bodies = append(bodies, string(body))
			mu.Unlock()
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			answer(w, r)
		}
	}
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider broken openai %s
		provider fine openai %s
		provider router openrouter {
			base_url %[2]s
			api_key none
		}
		model first {
			to broken/its-first
		}
		model second {
			to fine/its-second
		}
		model * {
			to router
		}
	}`, upstream(t, seen(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })), upstream(t, seen(good))))
	client := g.client("HTTP/2.0")
	for _, test := range []struct {
		name, models string
		by, attempts string
		asked        []string
		list         string // that the last provider gets
	}{
		{"the second answers", `"model":"first","models":["second","third"]`, "fine", "2", []string{"its-first", "its-second"}, ""},
		{"OpenRouter's own", `"model":"maker/a","models":["maker/b"]`, "router", "1", []string{"maker/a"}, `["maker/b"]`},
		{"ours and OpenRouter's", `"models":["maker/b"],"model":"first"`, "router", "2", []string{"its-first", "maker/b"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			bodies = nil
			got, err := g.ask(t.Context(), client, `{`+test.models+`,"messages":[{"role":"user","content":"hi"}],"odd":1.0}`)
			if err != nil || got.status != http.StatusOK {
				t.Fatalf("got %d, %v: %s", got.status, err, got.body)
			}
			if by, attempts := got.header.Get("X-LLM-Provider"), got.header.Get("X-LLM-Attempts"); by != test.by || attempts != test.attempts {
				t.Errorf("got an answer by %s after %s attempts, want %s, %s", by, attempts, test.by, test.attempts)
			}
			var asked []string
			for _, body := range bodies {
				asked = append(asked, gjson.Get(body, "model").Str)
				if !gjson.Valid(body) || gjson.Get(body, "models").Raw != test.list || gjson.Get(body, "odd").Raw != "1.0" {
					t.Errorf("a provider got %s", body)
				}
			}
			if !slices.Equal(asked, test.asked) {
				t.Errorf("asked for %q, want %q", asked, test.asked)
			}
		})
	}
	got, err := g.ask(t.Context(), client, `{"model":"first","models":7,"messages":[]}`)
	if err != nil || got.status != http.StatusBadRequest || gjson.Get(got.body, "error.param").Str != "models" {
		t.Errorf("got %d %s, %v", got.status, got.body, err)
	}
}
