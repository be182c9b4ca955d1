package route

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// knowing is a provider that knows its model.
type knowing struct {
	*script
	info llmgateway.ModelInfo
}

func (m knowing) ModelInfo() llmgateway.ModelInfo { return m.info }

// missing is a model whose file is not there.
type missing struct{ llmgateway.Provider }

func (missing) Status() llmgateway.Status {
	return llmgateway.Status{State: llmgateway.StateFailed, Detail: "the file is missing"}
}

// textOnly is a local model that takes text only.
func textOnly(context int) knowing {
	return knowing{does("local"), llmgateway.ModelInfo{Name: "text", Context: context}}
}

// can returns a target that has exactly these capabilities, as a configuration says.
func can(name string, p llmgateway.Provider, capabilities llmgateway.Capabilities) *Target {
	return &Target{Name: name, Provider: p, Capabilities: &capabilities}
}

// needing returns a request of an operation with these members.
func needing(t *testing.T, op llmgateway.Operation, members string) *llmgateway.Request {
	t.Helper()
	req, err := openai.Read(op, llmgateway.NewBody([]byte(`{"model":"m","stream":true,`+members+`}`)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

const (
	withImage  = `"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]`
	withTools  = `"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f"}}]`
	withSchema = `"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"name":"a"}}`
	withSound  = `"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}]}]`
	plain      = `"messages":[{"role":"user","content":"hi"}]`
)

// withWords is a prompt that certainly has n tokens.
func withWords(n int) string {
	return `"messages":[{"role":"user","content":"` + strings.Repeat("a ", 2*n) + `"}]`
}

// TestTargetIsNotAskedForWhatItIsKnownToLack has a first target with limits, and a second of which nothing is known.
func TestTargetIsNotAskedForWhatItIsKnownToLack(t *testing.T) {
	all := llmgateway.ModelInfo{Context: 100, Vision: true, Audio: true, Tools: true, Embeddings: true}
	for _, test := range []struct {
		name    string
		target  *Target
		members string
		want    string
	}{
		{"a local model without vision", named("a", textOnly(0)), withImage, "b"},
		{"a local model without tools", named("a", textOnly(0)), withTools, "b"},
		{"a local model without sound", named("a", textOnly(0)), withSound, "b"},
		{"a local model may follow a schema", named("a", textOnly(0)), withSchema, "local"},
		{"text suits all", named("a", textOnly(100)), plain, "local"},
		{"a local model with everything", named("a", knowing{does("local"), all}), withImage + `,"tools":[{}]`, "local"},
		{"nothing known", named("a", does("a")), withImage + `,"tools":[{}]`, "a"},
		{"configured without vision", can("a", does("a"), llmgateway.CanCallTools), withImage, "b"},
		{"configured with tools", can("a", does("a"), llmgateway.CanCallTools), withTools, "a"},
		{"configured without a schema", can("a", does("a"), llmgateway.CanCallTools), withSchema, "b"},
		{"configured with a schema", can("a", does("a"), llmgateway.CanFollowSchema), withSchema, "a"},
		{"configured with one of two", can("a", does("a"), llmgateway.CanSee), withImage + `,"tools":[{}]`, "b"},
		{"configured for text", can("a", does("a"), 0), plain, "a"},
		{"the configuration knows better", can("a", textOnly(0), llmgateway.CanSee), withImage, "local"},
		{"a prompt that is certainly too long", named("a", textOnly(100)), withWords(101), "b"},
		{"a prompt that may fit", named("a", textOnly(100)), withWords(100), "local"},
		{"a context that is configured", &Target{Name: "a", Provider: does("a"), Context: 50}, withWords(51), "b"},
		{"a context that is configured to be longer", &Target{Name: "a", Provider: textOnly(100), Context: 200}, withWords(101), "local"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &Router{Targets: []*Target{test.target, named("b", does("b"))}}
			ask(t.Context(), r, needing(t, llmgateway.Chat, test.members)).check(t, test.want, "", "")
		})
	}
	embedding := needing(t, llmgateway.Embeddings, `"input":"`+strings.Repeat("a ", 1000)+`"`)
	r := &Router{Targets: []*Target{named("a", textOnly(100)), named("b", knowing{does("b"), all})}}
	ask(t.Context(), r, embedding).check(t, "b", "", "")
}

// TestRequestBeyondAllTargetsSaysWhoCan has no target for it in its own model.
func TestRequestBeyondAllTargetsSaysWhoCan(t *testing.T) {
	never := does(errBoom)
	table := &Table{
		Models: map[string]*Router{
			"m": {Targets: []*Target{named("local", textOnly(100)), can("far", never, llmgateway.CanCallTools)}},
			"long": {Targets: []*Target{
				{Name: "far", Provider: never, Context: 200}, named("off", &disabled{"no key"}), named("gone", missing{}), can("blind", never, llmgateway.CanCallTools|llmgateway.CanFollowSchema),
			}},
			"more-*": {Targets: []*Target{named("far", never), named("far", never)}},
			"off":    {Targets: []*Target{named("off", &disabled{"no key"}), named("local", textOnly(100))}},
		},
		Providers: []string{"local", "far", "blind", "off", "gone"},
	}
	for _, test := range []struct {
		model, members string
		kind           llmgateway.Kind
		param, message string
	}{
		{"m", withImage, llmgateway.Unsupported, "messages", "every target failed: local: it cannot take images; far: it cannot take images; what can take this request here: far/long, far/more-*"},
		{"m", withSchema, "", "", ""},
		{"far/m", withSchema, llmgateway.Unsupported, "response_format", "far: it cannot follow a JSON schema; what can take this request here: far/long, blind/long, local/m, far/more-*, local/off"},
		{"local/m", withTools, llmgateway.Unsupported, "tools", "local: it cannot call tools; what can take this request here: far/long, blind/long, far/m, far/more-*"},
		{"local/m", withWords(150), llmgateway.ContextLength, "messages", "local: the prompt has at least 150 tokens, and its context is 100; what can take this request here: far/long, blind/long, far/m, far/more-*"},
		{"off", withImage, llmgateway.Unsupported, "messages", "every target failed: off: disabled: no key; local: it cannot take images; what can take this request here: far/long, far/more-*"},
	} {
		t.Run(test.model, func(t *testing.T) {
			req := needing(t, llmgateway.Chat, test.members)
			req.Model = test.model
			got := ask(t.Context(), table, req)
			if test.kind == "" {
				got.check(t, "local", "", "")
				return
			}
			got.check(t, "", "", test.kind)
			if got.err.Message != test.message || got.err.Param != test.param || openai.Status(got.err) != 400 {
				t.Errorf("got  %d %q, %q\nwant %q, %q", openai.Status(got.err), got.err.Message, got.err.Param, test.message, test.param)
			}
		})
	}
	delete(table.Models, "more-*")
	delete(table.Models, "long")
	got := ask(t.Context(), table, needing(t, llmgateway.Chat, withImage))
	if want := "; nothing here can take this request"; !strings.HasSuffix(got.err.Message, want) {
		t.Errorf("got %q, want that it ends in %q", got.err.Message, want)
	}
	for i := range 20 {
		table.Models[fmt.Sprint("x", i)] = &Router{Targets: []*Target{named("far", never)}}
	}
	got = ask(t.Context(), table, needing(t, llmgateway.Chat, withImage))
	if n := strings.Count(got.err.Message, "far/x"); n != maxNamed || !strings.HasSuffix(got.err.Message, ", ...") {
		t.Errorf("got %d names in %q", n, got.err.Message)
	}
}

func TestCatalogsModelsAreNamedOneByOne(t *testing.T) {
	model := func(name string, vision bool) llmgateway.Provider {
		return knowing{does(name), llmgateway.ModelInfo{Name: name, Vision: vision}}
	}
	folder := named("folder", &catalog{models: map[string]llmgateway.Provider{
		"text": model("text", false), "more": model("more", false), "sees": model("sees", true), "sees-too": model("sees-too", true),
	}})
	table := &Table{
		Models:    map[string]*Router{"*": {Targets: []*Target{folder}}, "se*": {Targets: []*Target{folder, can("far", does(errBoom), 0)}}},
		Providers: []string{"folder", "far"},
	}
	req := needing(t, llmgateway.Chat, withImage)
	req.Model = "text"
	got := ask(t.Context(), table, req)
	got.check(t, "", "", llmgateway.Unsupported)
	if want := "folder: it cannot take images; what can take this request here: folder/sees, folder/sees-too"; got.err.Message != want {
		t.Errorf("got  %q\nwant %q", got.err.Message, want)
	}
	for _, name := range []string{"sees", "sees-too"} {
		req.Model = "folder/" + name
		ask(t.Context(), table, req).check(t, name, "", "")
	}
}

func TestTooLongForOneContextGoesToALongerOne(t *testing.T) {
	full := fails(llmgateway.ContextLength)
	target := func(name string, context int, does *script) *Target {
		return &Target{Name: name, Provider: does, Context: context}
	}
	never := does(errBoom)
	r := &Router{Targets: []*Target{target("a", 100, does(full)), target("b", 100, never), target("c", 50, never), target("d", 0, does(full)), target("e", 101, does("e"))}, Retries: -1}
	ask(t.Context(), r, chat("m")).check(t, "e", "a context_length, d context_length", "")

	r.Targets = r.Targets[:4]
	table := &Table{Models: map[string]*Router{"m": r, "long": {Targets: []*Target{target("x", 100, never), target("y", 4000, never), named("z", never)}}}}
	got := ask(t.Context(), table, chat("m"))
	got.check(t, "", "a context_length, d context_length", llmgateway.ContextLength)
	if want := "; what can take this request here: y/long"; !strings.HasSuffix(got.err.Message, want) {
		t.Errorf("got %q, want that it ends in %q", got.err.Message, want)
	}
	if body := string(openai.ErrorBody(got.err)); openai.Status(got.err) != 400 || !strings.Contains(body, `"code":"context_length_exceeded"`) {
		t.Errorf("got %d, %s", openai.Status(got.err), body)
	}

	// One that was to be asked again, and is no longer than the one that said so.
	busy := target("busy", 100, does(fails(llmgateway.Overloaded)))
	r = &Router{Targets: []*Target{busy, target("a", 100, does(full))}, Retries: 5}
	ask(t.Context(), r, chat("m")).check(t, "", "busy overloaded, a context_length", llmgateway.Upstream)
}

// TestImageToBeFetchedGoesToAProviderThatMay has a local model with vision first, which fetches nothing.
func TestImageToBeFetchedGoesToAProviderThatMay(t *testing.T) {
	engine := local.NewEngine(local.Config{ModelPath: "gone.gguf", MMProj: "gone-too.gguf"}.Key(), memory.NewBudget(local.MachineMemory()), slog.New(slog.DiscardHandler))
	defer func() { _ = engine.Destruct() }()
	near := named("local", &local.Provider{Engine: engine})
	remote := strings.Replace(withImage, "data:image/png;base64,AA==", "https://example.com/a.png", 1)
	r := &Router{Targets: []*Target{near, named("far", does("far"))}, Retries: -1}
	ask(t.Context(), r, needing(t, llmgateway.Chat, remote)).check(t, "far", "local unsupported", "")

	got := ask(t.Context(), &Router{Targets: []*Target{near}}, needing(t, llmgateway.Chat, remote))
	got.check(t, "", "local unsupported", llmgateway.Unsupported)
	if want := "local: the local model takes images as data: URLs; it fetches none"; got.err.Message != want {
		t.Errorf("got %q, want %q", got.err.Message, want)
	}
}

func TestLimitsAreTheBestOfAllTargets(t *testing.T) {
	off := named("off", &disabled{"no key"})
	off.Context = 1 << 20
	for _, test := range []struct {
		name    string
		targets []*Target
		want    llmgateway.Limits
	}{
		{"one", []*Target{named("a", textOnly(100))}, textOnly(100).info.Limits()},
		{"nothing known", []*Target{named("a", does())}, llmgateway.Limits{}},
		{"switched off", []*Target{off}, llmgateway.Limits{}},
		{"one of which nothing is known", []*Target{named("a", textOnly(100)), named("b", does())}, llmgateway.Limits{Context: 100}},
		{
			"two",
			[]*Target{off, named("a", textOnly(100)), {Name: "b", Provider: does(), Context: 200, Capabilities: new(llmgateway.CanCallTools | llmgateway.CanSee)}},
			llmgateway.Limits{Context: 200, Can: llmgateway.CanCallTools | llmgateway.CanSee, Cannot: llmgateway.CanEmbed | llmgateway.CanHear},
		},
	} {
		if got := (&Router{Targets: test.targets}).Limits("m"); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

// TestNothingIsLookedForWhereNothingIsKnown keeps remote models free of charge.
func TestNothingIsLookedForWhereNothingIsKnown(t *testing.T) {
	d := demand{req: needing(t, llmgateway.Chat, withImage)}
	if err := d.unmet(llmgateway.Limits{}); err != nil || d.scanned || d.counted {
		t.Errorf("got %v, scanned %t, counted %t", err, d.scanned, d.counted)
	}
	if err := d.unmet(llmgateway.Limits{Context: len(d.req.Body.Bytes)}); err != nil || d.scanned || d.counted {
		t.Errorf("got %v, scanned %t, counted %t", err, d.scanned, d.counted)
	}
}
