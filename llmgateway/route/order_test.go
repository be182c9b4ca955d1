package route

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// wishing returns a request for a model and, if that fails, for those of a list.
func wishing(t *testing.T, model, list string) *llmgateway.Request {
	t.Helper()
	req := needing(t, llmgateway.Chat, `"models":`+list+`,`+plain)
	req.Model = model
	return req
}

func TestModelsAreAskedInTheClientsOrder(t *testing.T) {
	down := fails(llmgateway.Upstream)
	for _, test := range []struct {
		name        string
		a, a2, b, c *script
		model, list string
		text, tried string
		kind        llmgateway.Kind
		message     string
	}{
		{"the first answers", does("a"), does("a2"), does("b"), does("c"), "a", `["b","c"]`, "a", "", "", ""},
		{"all targets of a model come first", does(down), does("a2"), does("b"), does("c"), "a", `["b","c"]`, "a2", "A upstream", "", ""},
		{"the second answers", does(down), does(down), does("b"), does("c"), "a", `["b","c"]`, "b", "A upstream, A2 upstream", "", ""},
		{"the third answers", does(down), does(down), does(down), does("c"), "b", `["a","c"]`, "c", "B upstream, A upstream, A2 upstream", "", ""},
		{"one by its provider", does(down), does(down), does("b"), does("c"), "A/a", `["B/b"]`, "b", "A upstream", "", ""},
		{"one by its other name", does(down), does(down), does("b"), does("c"), "a", `["also-a","b"]`, "b", "A upstream, A2 upstream", "", ""},
		{
			"nobody answers", does(down), does(down), does(fails(llmgateway.Timeout)), does("c"), "a", `["b"]`, "", "A upstream, A2 upstream, B timeout", llmgateway.Upstream,
			`every model failed: "a": every target failed: A: it is upstream; A2: it is upstream; "b": B: it is timeout`,
		},
		{"a request that is wrong", does(fails(llmgateway.InvalidRequest)), does("a2"), does("b"), does("c"), "a", `["b"]`, "", "A invalid_request", llmgateway.InvalidRequest, "it is invalid_request"},
		{"an answer that breaks", does("half", down), does("a2"), does("b"), does("c"), "a", `["b"]`, "half", "", llmgateway.Upstream, "it is upstream"},
		{"one that is unknown", does("a"), does("a2"), does("b"), does("c"), "a", `["b","x"]`, "", "", llmgateway.NoModel, `the model "x" does not exist here; there are: a, b, c`},
		{"no list", does("a"), does("a2"), does("b"), does("c"), "a", `{"b":1}`, "", "", llmgateway.InvalidRequest, `the member "models" must be a list of models' names`},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := &Table{
				Models: map[string]*Router{
					"a": {Targets: []*Target{named("A", test.a), named("A2", test.a2)}, Retries: -1},
					"b": {Targets: []*Target{named("B", test.b)}},
					"c": {Targets: []*Target{named("C", test.c)}},
				},
				Aliases:   map[string]string{"also-a": "a"},
				Providers: []string{"A", "A2", "B", "C"},
			}
			got := ask(t.Context(), table, wishing(t, test.model, test.list))
			got.check(t, test.text, test.tried, test.kind)
			if test.message != "" && got.err.Message != test.message {
				t.Errorf("got  %s\nwant %s", got.err.Message, test.message)
			}
			for _, s := range []*script{test.a, test.a2, test.b, test.c} {
				for _, req := range s.requests {
					if !slices.ContainsFunc(req.Edits, func(e llmgateway.Edit) bool { return e.Name == "models" && e.Value == "" }) {
						t.Error("the provider gets the list")
					}
				}
			}
		})
	}
}

func TestAttemptsAreCountedOverAllModels(t *testing.T) {
	down := fails(llmgateway.Upstream)
	table := &Table{Models: map[string]*Router{
		"a": {Targets: []*Target{named("A", does(down)), named("A2", does(down))}, Retries: -1},
		"b": {Targets: []*Target{named("B", does(down)), named("B2", does("b"))}, Retries: -1},
	}}
	var numbers []int
	number := func(a llmgateway.Attempt) { numbers = append(numbers, a.Number) }
	ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{Tried: number, Answering: number})
	for _, err := range table.Generate(ctx, wishing(t, "a", `["b"]`)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{1, 2, 3, 4}; !slices.Equal(numbers, want) {
		t.Errorf("got %d, want %d", numbers, want)
	}
}

// TestListGoesToAProviderThatTakesIt has OpenRouter behind a model *.
func TestListGoesToAProviderThatTakesIt(t *testing.T) {
	for _, test := range []struct {
		name, model, list string
		takes             bool
		passes            bool
		asked             []string
	}{
		{"all for it", "x/a", `["x/b","x/c"]`, true, true, []string{"x/a"}},
		{"all for one that does not take it", "x/a", `["x/b"]`, false, false, []string{"x/a", "x/b"}},
		{"one for somebody else", "x/a", `["m","x/b"]`, true, false, []string{"x/a", "m", "x/b"}},
		{"one with our prefix", "router/x/a", `["x/b"]`, true, false, []string{"x/a", "x/b"}},
		{"a list of one", "x/a", `["x/a"]`, true, true, []string{"x/a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := does(fails(llmgateway.Upstream))
			router, other := named("router", s), named("other", s)
			router.TakesModels = test.takes
			table := &Table{
				Models:    map[string]*Router{"*": {Targets: []*Target{router}}, "m": {Targets: []*Target{other}}},
				Providers: []string{"router", "other"},
			}
			ask(t.Context(), table, wishing(t, test.model, test.list)).check(t, "", tries(test.asked), llmgateway.Upstream)
			var asked []string
			for _, req := range s.requests {
				asked = append(asked, req.Model)
				if passes := len(req.Edits) == 0; passes != test.passes {
					t.Errorf("%s: the list passes: %t, want %t", req.Model, passes, test.passes)
				}
			}
			if !slices.Equal(asked, test.asked) {
				t.Errorf("asked for %q, want %q", asked, test.asked)
			}
		})
	}
}

// tries returns what an outcome says of failed attempts at these models.
func tries(models []string) string {
	tried := make([]string, len(models))
	for i, model := range models {
		tried[i] = map[bool]string{true: "other", false: "router"}[model == "m"] + " upstream"
	}
	return strings.Join(tried, ", ")
}

func TestTimeoutIsOverAllModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := does(40*time.Second, fails(llmgateway.Upstream))
		table := &Table{Models: map[string]*Router{
			"a": {Targets: []*Target{named("A", slow)}, Timeout: time.Minute},
			"b": {Targets: []*Target{named("B", slow)}, Timeout: time.Minute},
			"c": {Targets: []*Target{named("C", does("c"))}, Timeout: time.Minute},
		}}
		got := ask(t.Context(), table, wishing(t, "a", `["b","c"]`))
		if got.took != time.Minute || got.text != "" || got.err == nil {
			t.Errorf("got %q, %v after %v", got.text, got.err, got.took)
		}
	})
}

func TestClientThatLeavesEndsTheList(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	next := does("b")
	table := &Table{Models: map[string]*Router{
		"a": {Targets: []*Target{named("A", does(func(*llmgateway.Request) { cancel() }, time.Hour))}},
		"b": {Targets: []*Target{named("B", next)}},
	}}
	if got := ask(ctx, table, wishing(t, "a", `["b"]`)); got.kind() != llmgateway.Canceled || next.asked() != 0 {
		t.Errorf("got %q, %v, and the next model was asked %d times", got.text, got.err, next.asked())
	}
}
