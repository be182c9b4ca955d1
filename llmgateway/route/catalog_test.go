package route

import (
	"maps"
	"slices"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// catalog is a provider of several models.
type catalog struct {
	llmgateway.Provider
	models map[string]llmgateway.Provider
}

func (c *catalog) Models() []string { return slices.Sorted(maps.Keys(c.models)) }

func (c *catalog) Lookup(model string) llmgateway.Provider {
	if p, ok := c.models[model]; ok {
		return p
	}
	return nil
}

func TestCatalogAnswersWithTheProviderOfTheModel(t *testing.T) {
	small, large := does("small"), does("large")
	c := &catalog{models: map[string]llmgateway.Provider{"small": small, "large": large}}
	for name, test := range map[string]struct {
		target Target
		asked  string
		want   string
	}{
		"the target's model":            {Target{Model: "small"}, "m", "small"},
		"the model asked for":           {Target{}, "large", "large"},
		"a target with deadlines":       {Target{Model: "large", Timeout: second}, "m", "large"},
		"a target with a first token":   {Target{FirstTokenTimeout: second}, "small", "small"},
		"the target's model goes first": {Target{Model: "small"}, "large", "small"},
	} {
		test.target.Name, test.target.Provider = "folder", c
		got := ask(t.Context(), &Router{Targets: []*Target{&test.target}}, chat(test.asked))
		if got.text != test.want || got.err != nil {
			t.Errorf("%s: got %q, %v", name, got.text, got.err)
		}
	}
	for name, p := range map[string]*script{"small": small, "large": large} {
		for _, r := range p.requests {
			if r.Model != name {
				t.Errorf("%s was asked for %s", name, r.Model)
			}
		}
	}
}

func TestModelThatACatalogDoesNotHaveIsSkipped(t *testing.T) {
	c := &catalog{models: map[string]llmgateway.Provider{"off": &disabled{"it is broken"}}}
	folder := named("folder", c)
	r := &Router{Targets: []*Target{folder, named("far", does("x"))}, Retries: 0}
	ask(t.Context(), r, chat("gone")).check(t, "x", "", "")
	ask(t.Context(), r, chat("off")).check(t, "x", "", "")

	got := ask(t.Context(), &Router{Targets: []*Target{folder}}, chat("gone"))
	got.check(t, "", "", llmgateway.NoModel)
	if want := `folder: it has no model "gone" now; it has: off`; got.err.Message != want {
		t.Errorf("got %q, want %q", got.err.Message, want)
	}
}

func TestModelThatGoesBeforeItsTurnFails(t *testing.T) {
	c := &catalog{models: map[string]llmgateway.Provider{"m": does("never")}}
	first := does(func(*llmgateway.Request) { delete(c.models, "m") }, fails(llmgateway.Upstream))
	r := &Router{Targets: []*Target{named("first", first), named("folder", c), named("last", does("x"))}, Retries: -1}
	ask(t.Context(), r, chat("m")).check(t, "x", "first upstream, folder no_model", "")
}
