package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A conversation that is too long for a target loses its earlier turns first. Where that does not help, the target with a longer
// context has it whole.
func TestEarlierTurnsAreLeftOutBeforeALongerContextIsAsked(t *testing.T) {
	var sent string
	model := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = string(body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}`)
	}
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider short openai %[1]s
		provider long openai %[1]s
		model m {
			to short {
				context 2000
			}
			to long {
				context 100000
			}
		}
		client bytebot
	}`, upstream(t, model)))
	words := func(n int) string { return strings.Repeat("a ", n) }
	for _, tt := range []struct {
		name        string
		first, last int // words of the first result and the last
		provider    string
		left        bool
	}{
		{"all fits", 10, 10, "short", false},
		{"the first turns are long", 6000, 10, "short", true},
		{"the last turn is long", 10, 6000, "long", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			messages := []string{`{"role":"user","content":"Read the files."}`}
			for turn := range 8 {
				result := words(10)
				switch turn {
				case 0:
					result = words(tt.first)
				case 7:
					result = words(tt.last)
				}
				messages = append(messages,
					fmt.Sprintf(`{"role":"assistant","content":"","tool_calls":[{"id":"c%d","type":"function","function":{"name":"read_file","arguments":"{}"}}]}`, turn),
					fmt.Sprintf(`{"role":"tool","tool_call_id":"c%d","content":%q}`, turn, result))
			}
			got, err := g.ask(t.Context(), g.client("HTTP/1.1"), `{"model":"m","messages":[`+strings.Join(messages, ",")+`]}`)
			if err != nil {
				t.Fatal(err)
			}
			if by := got.header.Get("X-LLM-Provider"); got.status != http.StatusOK || by != tt.provider {
				t.Errorf("got %d by %q, want %q: %.300s", got.status, by, tt.provider, got.body)
			}
			if left := strings.Contains(sent, "earlier steps are left out"); left != tt.left {
				t.Errorf("earlier steps were left out: %v, want %v", left, tt.left)
			}
		})
	}
}
