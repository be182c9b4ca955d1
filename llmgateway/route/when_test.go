package route

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// when returns a target that is for requests of which all these hold.
func when(name string, rules ...Rule) *Target {
	return &Target{Name: name, Provider: does(name), When: rules}
}

// withAbout is a prompt of about n tokens.
func withAbout(n int) string {
	return `"messages":[{"role":"user","content":"` + strings.Repeat("go ", n) + `"}]`
}

// TestTargetIsOnlyForRequestsThatMeetItsConditions has a target with conditions first, and one without behind it.
func TestTargetIsOnlyForRequestsThatMeetItsConditions(t *testing.T) {
	images, tools := Rule{Needs: llmgateway.CanSee}, Rule{Needs: llmgateway.CanCallTools}
	premium := Rule{Header: "X-Tier", Values: []string{"premium", "gold"}}
	not := func(r Rule) Rule {
		r.Not = true
		return r
	}
	for _, test := range []struct {
		name    string
		rules   []Rule
		members string
		header  map[string][]string
		want    string
	}{
		{"images", []Rule{images}, withImage, nil, "big"},
		{"no images", []Rule{images}, plain, nil, "small"},
		{"not images", []Rule{not(images)}, withImage, nil, "small"},
		{"tools and images, and there are tools", []Rule{tools, images}, withTools, nil, "small"},
		{"tools and images, and there are both", []Rule{tools, images}, withImage + `,"tools":[{}]`, nil, "big"},
		{"tools that may not be called", []Rule{tools}, withTools + `,"tool_choice":"none"`, nil, "small"},
		{"a schema", []Rule{{Needs: llmgateway.CanFollowSchema}}, withSchema, nil, "big"},
		{"sound", []Rule{{Needs: llmgateway.CanHear}}, withSound, nil, "big"},
		{"a long prompt", []Rule{{Above: 4000}}, withAbout(5000), nil, "big"},
		{"a short prompt", []Rule{{Above: 4000}}, withAbout(3000), nil, "small"},
		{"a prompt that is not long", []Rule{{Above: 4000, Not: true}}, withAbout(3000), nil, "big"},
		{"a prompt below", []Rule{{Below: 500}}, withAbout(400), nil, "big"},
		{"a prompt not below", []Rule{{Below: 500}}, withAbout(600), nil, "small"},
		{"a prompt between", []Rule{{Below: 500}, {Above: 300}}, withAbout(400), nil, "big"},
		{"an image is many tokens", []Rule{{Above: 200}}, withImage, nil, "big"},
		{"the header's value", []Rule{premium}, plain, map[string][]string{"X-Tier": {"gold"}}, "big"},
		{"another value", []Rule{premium}, plain, map[string][]string{"X-Tier": {"Gold", "silver"}}, "small"},
		{"no header", []Rule{premium}, plain, nil, "small"},
		{"not the header's value", []Rule{not(premium)}, plain, nil, "big"},
		{"any value", []Rule{{Header: "X-Tier"}}, plain, map[string][]string{"X-Tier": {""}}, "big"},
		{"any value, and no header", []Rule{{Header: "X-Tier"}}, plain, map[string][]string{"X-Other": {"a"}}, "small"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := needing(t, llmgateway.Chat, test.members)
			req.Header = test.header
			r := &Router{Targets: []*Target{when("big", test.rules...), named("small", does("small"))}}
			ask(t.Context(), r, req).check(t, test.want, "", "")
		})
	}
}

func TestRequestThatMeetsNoTargetsConditionsSaysWhich(t *testing.T) {
	secret := Rule{Header: "X-Key", Values: []string{"s3cret"}}
	table := &Table{Models: map[string]*Router{"m": {Targets: []*Target{
		when("a", Rule{Needs: llmgateway.CanSee}, Rule{Above: 4000}),
		when("b", Rule{Below: 5}, secret),
		when("c", Rule{Header: "X-Other", Not: true}, Rule{Needs: llmgateway.CanSee | llmgateway.CanHear, Not: true}, Rule{Above: 3, Not: true}),
	}}}, Providers: []string{"a", "b", "c"}}
	req := needing(t, llmgateway.Chat, plain)
	req.Header = map[string][]string{"X-Other": {"x"}}
	got := ask(t.Context(), table, req)
	got.check(t, "", "", llmgateway.Unsupported)
	n := openai.PromptTokens(req)
	want := fmt.Sprintf("every target failed: a: it is only for requests that need it to take images and of more than 4000 tokens (this one has about %[1]d); "+
		"b: it is only for requests of fewer than 5 tokens (this one has about %[1]d) and with certain values of the header X-Key; "+
		"c: it is only for requests without the header X-Other and of at most 3 tokens (this one has about %[1]d); "+
		"to take every request, a model needs a target without `when`; nothing here can take this request", n)
	if got.err.Message != want {
		t.Errorf("got  %s\nwant %s", got.err.Message, want)
	}

	// Another model has a target that takes it.
	table.Models["all"] = &Router{Targets: []*Target{named("d", does("d"))}}
	got = ask(t.Context(), table, req)
	if want := "; what can take this request here: d/all"; !strings.HasSuffix(got.err.Message, want) {
		t.Errorf("got %q, want that it ends in %q", got.err.Message, want)
	}
}

// TestConditionsAreNotToBlameForWhatElseIsWrong has a target that is meant for the request and cannot answer now.
func TestConditionsAreNotToBlameForWhatElseIsWrong(t *testing.T) {
	r := &Router{Targets: []*Target{when("a", Rule{Needs: llmgateway.CanSee}), named("b", &disabled{"no key"})}}
	got := ask(t.Context(), r, needing(t, llmgateway.Chat, plain))
	got.check(t, "", "", llmgateway.Overloaded)
	if strings.Contains(got.err.Message, allConditional) {
		t.Errorf("got %q", got.err.Message)
	}
}

func TestNamingAProviderDoesNotMakeItsConditionsHold(t *testing.T) {
	r := &Router{Targets: []*Target{when("a", Rule{Header: "X-Tier"}), named("b", does("b"))}}
	req := needing(t, llmgateway.Chat, plain)
	req.Provider = "a"
	ask(t.Context(), r, req).check(t, "", "", llmgateway.Unsupported)
}

func TestTokensAreCountedOnceAndOnlyIfAConditionAsks(t *testing.T) {
	d := demand{req: needing(t, llmgateway.Chat, plain)}
	if _ = when("a", Rule{Needs: llmgateway.CanCallTools, Not: true}, Rule{Header: "X"}).excluded(&d); d.estimate != nil {
		t.Error("the tokens were counted for no one")
	}
	_ = when("b", Rule{Above: 1}).excluded(&d)
	first := d.estimate
	if _ = when("c", Rule{Below: 1}).excluded(&d); first == nil || d.estimate != first {
		t.Error("the tokens were not counted once")
	}
}
