package route

import (
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestOnlyAllowedModelsAreFound(t *testing.T) {
	table := tableOf(map[string]string{
		"qwen":     "local hf: gpt-4o-mini small",
		"qwen-vl":  "hf",
		"secret":   "echo: hidden",
		"claude-*": "hf",
	})
	everything := tableOf(map[string]string{"*": "hf local", "qwen": "local: default"})
	for _, test := range []struct {
		name    string
		table   *Table
		allowed string
		model   string
		found   bool
	}{
		{"no bounds", table, "", "secret", true},
		{"its name", table, "qwen", "qwen", true},
		{"its alias, allowed by name", table, "qwen", "small", true},
		{"its name, allowed by alias", table, "small", "qwen", true},
		{"another alias of it", table, "small", "gpt-4o-mini", true},
		{"with a provider", table, "qwen", "hf/qwen", true},
		{"an alias with a provider", table, "qwen", "hf/small", true},
		{"a pattern", table, "qwen*", "qwen-vl", true},
		{"a pattern of its alias", table, "gpt-*", "gpt-4o-mini", true},
		{"a pattern of its name, asked for by alias", table, "qwen*", "small", true},
		{"of several", table, "other qwen-vl", "qwen-vl", true},
		{"one of many", table, "claude-haiku", "claude-haiku", true},
		{"all of many", table, "claude-*", "claude-haiku", true},
		{"anything", everything, "llama", "llama", true},
		{"anything with a provider", everything, "llama", "hf/llama", true},

		{"another model", table, "qwen", "secret", false},
		{"another model by its alias", table, "qwen", "hidden", false},
		{"another model with a provider", table, "qwen", "echo/secret", false},
		{"another model by an alias with a provider", table, "qwen", "echo/hidden", false},
		{"what only begins so", table, "qwen", "qwen-vl", false},
		{"another pattern", table, "qwen*", "secret", false},
		{"another one of many", table, "claude-haiku", "claude-opus", false},
		{"what the allowed one is found by", everything, "llama", "mistral", false},
		{"what the allowed one is found by, with a provider", everything, "llama", "local/mistral", false},
		{"what is configured beside", everything, "llama", "qwen", false},
		{"a provider's name as a model", table, "hf", "hf/qwen", false},
		{"what there is not", table, "nothing", "nothing", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := &llmgateway.Request{Model: test.model, Allowed: strings.Fields(test.allowed)}
			if got := test.table.Has(req); got != test.found {
				t.Errorf("got %t", got)
			}
			_, _, err := test.table.resolve(req)
			if (err == nil) != test.found {
				t.Errorf("got %v", err)
			}
			if err != nil && len(req.Allowed) > 0 {
				if e := llmgateway.AsError(err); e.Kind != llmgateway.NoModel || strings.Contains(e.Message, "there are") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}
