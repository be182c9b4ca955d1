package bytebot

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/toolcall"
)

// usual are arguments that the agent's tools require and that a model leaves out where they go without saying.
var usual = map[string]string{
	"computer_click_mouse.button": `"left"`,
	"computer_drag_mouse.button":  `"left"`,
}

// offered returns the tools that a request offers. The agent always offers the same ones, so the last are kept.
func (a *Adapter) offered(req *llmgateway.Request) *toolcall.Tools {
	m, ok := req.Lookup("tools")
	if choice, chosen := req.Lookup("tool_choice"); !ok || chosen && string(req.Raw(choice)) == `"none"` {
		return nil
	}
	raw := req.Raw(m)
	if last := a.tools.Load(); last != nil && last.raw == string(raw) {
		return last.tools
	}
	tools, err := toolcall.Read(raw, usual)
	if err != nil {
		return nil // for the provider to complain about
	}
	a.tools.Store(&lastTools{string(raw), tools})
	return tools
}

// lastTools are tools and how they were written.
type lastTools struct {
	raw   string
	tools *toolcall.Tools
}

// mending returns what asks a target and mends the calls in its answer. If there is no use in what it said, it is asked again
// once, with what is wrong.
func (x *exchange) mending(ask llmgateway.Generate) llmgateway.Generate {
	if x.adapter.config.KeepCalls || x.tools.Empty() {
		return ask
	}
	r := &toolcall.Repairer{Tools: x.tools, Taken: func(id string) bool { return x.ids[id] }}
	return func(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		if req.Stream {
			return r.Stream(ask(ctx, req), nil)
		}
		return x.mended(ctx, req, ask, r)
	}
}

// mended asks a target for a whole answer, and again if need be.
func (x *exchange) mended(ctx context.Context, req *llmgateway.Request, ask llmgateway.Generate, r *toolcall.Repairer) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		first, err := x.once(ctx, req, ask, r)
		if err != nil || len(first.problems) == 0 {
			yield(first.event, err)
			return
		}
		second, err := x.once(ctx, first.complain(req), ask, r)
		switch {
		case err == nil && (!second.empty || first.empty):
			second.event.Usage = sum(first.event.Usage, second.event.Usage)
		case ctx.Err() != nil:
			yield(llmgateway.Event{}, err)
			return
		default:
			second = first
		}
		quoting := *r
		quoting.Quote = true
		last := quoting.Answer(second.event.Data)
		second.event.Data, second.event.FinishReason = last.Data, last.FinishReason
		if second.empty {
			yield(llmgateway.Event{}, errEmpty)
			return
		}
		yield(second.event, nil)
	}
}

// errEmpty is an answer that the agent would fail its task for.
var errEmpty = &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the model answered twice without saying anything or calling a tool"}

// attempted is an answer as it is after mending.
type attempted struct {
	event    llmgateway.Event
	problems []toolcall.Problem
	empty    bool
}

// once asks a target for a whole answer and mends it.
func (x *exchange) once(ctx context.Context, req *llmgateway.Request, ask llmgateway.Generate, r *toolcall.Repairer) (a attempted, err error) {
	for event, err := range ask(ctx, req) {
		if err != nil {
			return a, err
		}
		answer := r.Answer(plainContent(event.Data))
		event.Data, event.FinishReason = slices.Clone(answer.Data), answer.FinishReason
		a.event, a.problems = event, answer.Problems
	}
	if a.event.Data != nil && saysNothing(a.event.Data) {
		a.empty = true
		a.problems = append(a.problems, toolcall.Problem{Text: "It was empty."})
	}
	return a, nil
}

// saysNothing reports whether there is nothing in an answer that the agent reads.
func saysNothing(data []byte) bool {
	message := gjson.GetBytes(data, "choices.0.message")
	if !message.Exists() {
		return false // for others to complain about
	}
	for _, name := range []string{"content", "reasoning_content", "refusal"} {
		if strings.TrimSpace(message.Get(name).String()) != "" {
			return false
		}
	}
	return len(message.Get("tool_calls").Array()) == 0
}

// plainContent makes one text of a content that comes in parts, or is no text at all, which the agent cannot read.
func plainContent(data []byte) []byte {
	content := gjson.GetBytes(data, "choices.0.message.content")
	if !content.Exists() || content.Type == gjson.String || content.Type == gjson.Null {
		return data
	}
	texts := []string{}
	if !content.IsArray() {
		texts = append(texts, content.Raw)
	}
	for _, part := range content.Array() {
		if t := part.Get("text"); t.Type == gjson.String {
			texts = append(texts, t.Str)
		}
	}
	end := content.Index + len(content.Raw)
	return slices.Concat(data[:content.Index], []byte(quote(strings.Join(texts, "\n\n"))), data[end:])
}

// complain returns the request with the answer in it and with what is wrong with it.
func (a attempted) complain(req *llmgateway.Request) *llmgateway.Request {
	message := gjson.GetBytes(a.event.Data, "choices.0.message")
	said := []string{}
	if text := strings.TrimSpace(message.Get("content").String()); text != "" {
		said = append(said, text)
	}
	for _, c := range message.Get("tool_calls").Array() {
		said = append(said, "I called "+c.Get("function.name").String()+" with "+c.Get("function.arguments").String())
	}
	if len(said) == 0 {
		said = append(said, "(nothing)")
	}
	wrong := []string{"Your last answer was not carried out."}
	for _, problem := range a.problems {
		wrong = append(wrong, problem.Text)
	}
	wrong = append(wrong, "Answer again with a correct call of a tool.")
	return appended(req, `{"role":"assistant","content":`+quote(strings.Join(said, "\n"))+`},{"role":"user","content":`+quote(strings.Join(wrong, " "))+`}`)
}

// appended returns a copy of a request with more messages at the end of its list, which has some.
func appended(req *llmgateway.Request, messages string) *llmgateway.Request {
	next := *req
	next.Edits = slices.Clone(req.Edits)
	at := slices.IndexFunc(next.Edits, func(e llmgateway.Edit) bool { return e.Name == "messages" && e.Append != "" })
	if at >= 0 {
		next.Edits[at].Append += "," + messages
	} else {
		next.Edits = append(next.Edits, llmgateway.Edit{Name: "messages", Append: messages})
	}
	return &next
}

// sum returns what two answers used together.
func sum(a, b *llmgateway.Usage) *llmgateway.Usage {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	total := *b
	total.PromptTokens += a.PromptTokens
	total.CompletionTokens += a.CompletionTokens
	total.TotalTokens += a.TotalTokens
	total.CachedTokens += a.CachedTokens
	total.ReasoningTokens += a.ReasoningTokens
	if a.Cost != nil {
		cost := *a.Cost
		if b.Cost != nil {
			cost += *b.Cost
		}
		total.Cost = &cost
	}
	return &total
}
