package route

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// tableOf returns a table of models, each with providers and, behind a colon, what aliases it has: "a b: x y*". Every
// provider says which model it was asked for.
func tableOf(models map[string]string) *Table {
	t := &Table{Models: make(map[string]*Router), Aliases: make(map[string]string), Providers: []string{"echo", "hf", "local"}}
	for name, spec := range models {
		providers, aliases, _ := strings.Cut(spec, ":")
		r := &Router{Retries: -1}
		for provider := range strings.FieldsSeq(providers) {
			r.Targets = append(r.Targets, named(provider, &teller{provider + " " + name}))
		}
		t.Models[name] = r
		for alias := range strings.FieldsSeq(aliases) {
			t.Aliases[alias] = name
		}
	}
	return t
}

// teller says who it is and what it was asked for.
type teller struct{ name string }

func (p *teller) Generate(_ context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		yield(event(p.name+" "+req.Model), nil)
	}
}

func TestTableFindsModels(t *testing.T) {
	table := tableOf(map[string]string{
		"qwen":           "local hf: gpt-4o-mini gpt-* small",
		"qwen/vl":        "hf",
		"gpt-4-turbo":    "echo",
		"claude-*":       "hf: anthropic-*",
		"claude-haiku-*": "echo",
		"local/odd":      "echo",
	})
	any := tableOf(map[string]string{"*": "hf local", "qwen": "local: default"})
	tests := []struct {
		name     string
		table    *Table
		model    string
		provider string
		// want is provider, configured model, model asked for; or empty.
		want string
		// missing is a part of the error, where there is one.
		missing string
	}{
		{"exact", table, "qwen", "", "local qwen qwen", ""},
		{"alias", table, "small", "", "local qwen qwen", ""},
		{"alias before a pattern of aliases", table, "gpt-4o-mini", "", "local qwen qwen", ""},
		{"pattern of aliases", table, "gpt-5", "", "local qwen qwen", ""},
		{"exact before a pattern of aliases", table, "gpt-4-turbo", "", "echo gpt-4-turbo gpt-4-turbo", ""},
		{"pattern", table, "claude-sonnet", "", "hf claude-* claude-sonnet", ""},
		{"longest pattern", table, "claude-haiku-3", "", "echo claude-haiku-* claude-haiku-3", ""},
		{"alias of a pattern", table, "anthropic-x", "", "hf claude-* anthropic-x", ""},
		{"name with a slash", table, "qwen/vl", "", "hf qwen/vl qwen/vl", ""},
		{"the exact name wins over a provider's prefix", table, "local/odd", "", "echo local/odd local/odd", ""},
		{"provider before the name", table, "hf/qwen", "", "hf qwen qwen", ""},
		{"provider before an alias", table, "hf/small", "", "hf qwen qwen", ""},
		{"provider before a name with a slash", table, "hf/qwen/vl", "", "hf qwen/vl qwen/vl", ""},
		{"provider before a pattern", table, "hf/claude-x", "", "hf claude-* claude-x", ""},
		{"provider in the body", table, "qwen", "hf", "hf qwen qwen", ""},
		{"the same provider twice", table, "hf/qwen", "hf", "hf qwen qwen", ""},

		{"unknown", table, "nope", "", "", `the model "nope" does not exist here; there are: claude-*, claude-haiku-*, gpt-4-turbo, local/odd, qwen, qwen/vl`},
		{"unknown before the slash", table, "nope/qwen", "", "", `the model "nope/qwen" does not exist here`},
		{"unknown behind the slash", table, "hf/nope", "", "", `the model "hf/nope" does not exist here`},
		{"nothing behind the slash", table, "hf/", "", "", `the model "hf/" does not exist here`},
		{"case counts", table, "QWEN", "", "", "does not exist here"},
		{"a star of the client's", table, "qw*", "", "", "does not exist here"},
		{"provider that does not have the model", table, "qwen", "echo", "", `the model "qwen" is not offered by provider "echo"; it is offered by: local, hf`},
		{"provider that does not exist", table, "qwen", "nope", "", `the model "qwen" is not offered by provider "nope"; it is offered by: local, hf`},
		{"prefix that does not have the model", table, "echo/qwen", "", "", `the model "qwen" is not offered by provider "echo"`},
		{"two providers", table, "hf/qwen", "local", "", "the model names provider hf, but the request names provider local; name one"},

		{"any: any name", any, "anything", "", "hf * anything", ""},
		{"any: any name with a slash", any, "org/model", "", "hf * org/model", ""},
		{"any: exact", any, "qwen", "", "local qwen qwen", ""},
		{"any: alias", any, "default", "", "local qwen qwen", ""},
		{"any: provider before any name", any, "local/anything", "", "local * anything", ""},
		{"any: provider before any name with a slash", any, "hf/org/model", "", "hf * org/model", ""},
		{"any: provider before an exact name", any, "local/qwen", "", "local qwen qwen", ""},
		{"any: provider that is configured but not a target", any, "echo/anything", "", "", `is not offered by provider "echo"`},
		{"any: a star", any, "*", "", "hf * *", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := chat(test.model)
			req.Provider = test.provider
			got := ask(t.Context(), test.table, req)
			if got.text != test.want {
				t.Errorf("got %q (%v), want %q", got.text, got.err, test.want)
			}
			if test.missing != "" && (got.err == nil || !strings.Contains(got.err.Message, test.missing)) {
				t.Errorf("got  %v\nwant %s", got.err, test.missing)
			}
			if req.Model != test.model || req.Provider != test.provider {
				t.Error("the request was changed")
			}
			// The label of a request is the configured name it was answered under.
			configured := ""
			if fields := strings.Fields(test.want); len(fields) > 1 {
				configured = fields[1]
			}
			if label := test.table.Resolve(req); configured != "" && label != configured {
				t.Errorf("labeled %q, want %q", label, configured)
			}
		})
	}
}

func TestTableSaysWhatKindOfMistakeItIs(t *testing.T) {
	table := tableOf(map[string]string{"qwen": "local"})
	for _, test := range []struct {
		model, provider, param string
		kind                   llmgateway.Kind
	}{
		{"nope", "", "model", llmgateway.NoModel},
		{"qwen", "hf", "provider", llmgateway.InvalidRequest},
		{"hf/qwen", "local", "provider", llmgateway.InvalidRequest},
	} {
		req := chat(test.model)
		req.Provider = test.provider
		if got := ask(t.Context(), table, req).err; got.Kind != test.kind || got.Param != test.param {
			t.Errorf("%s: got %s, param %s; want %s, %s", test.model, got.Kind, got.Param, test.kind, test.param)
		}
	}
}

func TestTableRefusesRequestsThatMustNameTheirProvider(t *testing.T) {
	table := tableOf(map[string]string{"auto": "local hf:other"})
	table.Models["auto"].Named = true
	for _, model := range []string{"auto", "other"} {
		err := ask(t.Context(), table, chat(model)).err
		if err == nil || err.Kind != llmgateway.InvalidRequest || err.Param != "provider" || !strings.HasSuffix(err.Message, "local/"+model+"\"; there are: local, hf") {
			t.Errorf("%s: got %v", model, err)
		}
		if table.Has(chat(model)) {
			t.Errorf("%s: it counts as a model that can be asked for by itself", model)
		}
		req := chat(model)
		req.Provider = "hf"
		if got := ask(t.Context(), table, req); got.err != nil {
			t.Errorf("%s: with its provider: %v", model, got.err)
		}
		if got := ask(t.Context(), table, chat("hf/"+model)); got.err != nil {
			t.Errorf("%s: with its provider before it: %v", model, got.err)
		}
	}
}

func TestTablePrefersTheLongestMatchWhereverItIs(t *testing.T) {
	table := tableOf(map[string]string{"qwen": "local: g* gpt-4-*", "gpt-*": "hf", "rest": "echo: *"})
	for model, want := range map[string]string{
		"gemma":      "local qwen qwen",
		"gpt-5":      "hf gpt-* gpt-5",
		"gpt-4-mini": "local qwen qwen",
		"other":      "echo rest rest",
	} {
		if got := ask(t.Context(), table, chat(model)); got.text != want {
			t.Errorf("%s: got %q (%v), want %q", model, got.text, got.err, want)
		}
	}
}

// TestTableResolvesOnlyWhatItWouldAnswer is for labels, and for clients that ask whether there is a model.
func TestTableResolvesOnlyWhatItWouldAnswer(t *testing.T) {
	table := tableOf(map[string]string{"qwen": "local: small", "claude-*": "hf"})
	for model, want := range map[string]string{
		"qwen": "qwen", "small": "qwen", "claude-x": "claude-*", "local/qwen": "qwen", "hf/claude-x": "claude-*",
		"nope": "", "nope/qwen": "", "local/nope": "", "hf/qwen": "qwen",
	} {
		if got := table.Resolve(&llmgateway.Request{Model: model}); got != want {
			t.Errorf("%s: got %q, want %q", model, got, want)
		}
	}
}

func TestTableQuotesNoMoreThanItMust(t *testing.T) {
	table := tableOf(map[string]string{"qwen": "local"})
	got := ask(t.Context(), table, chat(strings.Repeat("x", 1<<20)+"\xff"))
	if n := len(got.err.Message); n > 300 {
		t.Errorf("got a message of %d bytes", n)
	}
}
