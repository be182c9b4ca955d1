package bytebot

import (
	"context"
	"iter"
	"math"
	"strings"
	"sync/atomic"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/toolcall"
)

// exchange is what is done for one request of the agent.
type exchange struct {
	adapter *Adapter
	tenant  string
	status  bool // set_task_status is offered
	window  int  // how large the agent thinks that the model's context is
	left    int  // how many images were left out
	turns   int  // how many messages are the model's
	tools   *toolcall.Tools
	ids     map[string]bool // of the calls in the conversation
	streak  streak
	nudge   string // what is said to a model that repeats itself, or empty
	retries int    // how often the agent has sent the request before, or -1 if unknown
}

// exchange notes what has to be known of a request later. Nothing of the body is kept.
func (a *Adapter) exchange(req *llmgateway.Request, c *conversation) *exchange {
	x := &exchange{
		adapter: a, tenant: req.Tenant, status: c.status, window: a.config.Window(req.Model),
		tools: a.offered(req), ids: make(map[string]bool), retries: retriesOf(req),
	}
	if req.Native != nil && x.window == defaultWindow {
		x.window = ownWindow(req)
	}
	for _, m := range c.messages {
		if m.role == assistant {
			x.turns++
		}
		for _, call := range m.calls {
			x.ids[call.id] = true
		}
	}
	if x.status {
		x.streak = c.streak()
		if x.streak.reached(a.config.loopNudge()) {
			x.nudge = x.streak.nudge()
		}
	}
	return x
}

// ownWindow returns what the agent takes a model's context for that it asks by Anthropic's or OpenAI's own API.
func ownWindow(req *llmgateway.Request) int {
	if m, ok := req.Native.Lookup("model"); ok && strings.HasPrefix(text(req.Native.Raw(m)), "gpt-4.1") {
		return longWindow
	}
	return otherWindow
}

// Answer implements [llmgateway.Exchange].
func (x *exchange) Answer(ctx context.Context, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	return x.visible(ctx, req, func(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return x.seen(ctx, req, ask)
	})
}

// seen answers a request. Where no target can see, they are asked again with a text for every image.
func (x *exchange) seen(ctx context.Context, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		var window atomic.Int64 // of the target that answers
		ctx := follow(ctx, &window)
		blind, left := x.pass(ask(ctx, req), &window, yield)
		if left || blind == nil {
			return
		}
		unseen, err := x.unseen(req)
		if err != nil || unseen == nil {
			yield(llmgateway.Event{}, blind)
			return
		}
		defer unseen.Body.Release()
		if again, left := x.pass(ask(ctx, unseen), &window, yield); again != nil && !left {
			yield(llmgateway.Event{}, again)
		}
	}
}

// follow returns a context whose trace also notes the context of the target that answers.
func follow(ctx context.Context, window *atomic.Int64) context.Context {
	trace := *llmgateway.ContextTrace(ctx)
	answering := trace.Answering
	trace.Answering = func(a llmgateway.Attempt) {
		window.Store(int64(a.Context))
		if answering != nil {
			answering(a)
		}
	}
	return llmgateway.WithTrace(ctx, &trace)
}

// pass passes an answer on. An error that says that no target can see is returned instead, if it is the first that comes. left is
// true if the loop over the answer was left.
func (x *exchange) pass(events iter.Seq2[llmgateway.Event, error], window *atomic.Int64, yield func(llmgateway.Event, error) bool) (blind error, left bool) {
	first := true
	for event, err := range events {
		if err != nil {
			if e := llmgateway.AsError(err); first && e.Kind == llmgateway.Unsupported && e.Code != tooLarge {
				return err, false
			}
		} else if event.Whole {
			x.told(&event, int(window.Load()))
		}
		first = false
		if !yield(event, err) {
			return nil, true
		}
	}
	return nil, false
}

// told makes of a whole answer what the agent is told, and remembers its calls.
func (x *exchange) told(event *llmgateway.Event, window int) {
	config := x.adapter.config
	if !config.KeepArguments {
		config.Memory.remember(x.tenant, event.Data)
	}
	if config.KeepUsage || !x.status || window <= 0 || window == x.window {
		return
	}
	event.Data = withUsage(event.Data, x.window, window)
	if u := event.Usage; u != nil {
		as := func(n int) int { return int(math.Round(float64(n) * float64(x.window) / float64(window))) }
		event.Told = &llmgateway.Usage{
			PromptTokens: as(u.PromptTokens), CompletionTokens: as(u.CompletionTokens), TotalTokens: as(u.TotalTokens),
			CachedTokens: as(u.CachedTokens), ReasoningTokens: as(u.ReasoningTokens),
		}
	}
}

// unseen returns a request with texts in place of images, or nil if it has none. Its body is the caller's.
func (x *exchange) unseen(req *llmgateway.Request) (*llmgateway.Request, error) {
	c, ok := read(req)
	if !ok || len(c.images) == 0 {
		return nil, nil
	}
	return rewritten(req, c, c.unseen(), func(w *writer) { w.copy(c.list) })
}

// Attempt implements [llmgateway.Exchange].
func (x *exchange) Attempt(ctx context.Context, to llmgateway.Destination, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		t := attempt{x: x, to: to, req: req, lesson: x.adapter.config.Memory.lesson(targetOf(to)), options: x.adapter.options(targetOf(to))}
		for t.try(ctx, x.mending(ask), yield) {
		}
	}
}

// Identity implements [llmgateway.Exchange].
func (x *exchange) Identity() string { return x.adapter.identity }

// Shortens implements [llmgateway.Shortener]. The last turn always stays.
func (x *exchange) Shortens() bool { return !x.adapter.config.KeepWindow && x.turns > 1 }

// withUsage returns an answer that tells each number of its usage as the same part of one window as it is of another.
func withUsage(answer []byte, told, real int) []byte {
	var e edits
	openai.EachMember(answer, openai.Space(answer), func(name []byte, value int) int {
		if string(name) != "usage" {
			return openai.Skip(answer, value)
		}
		return openai.EachMember(answer, value, func(name []byte, value int) int {
			end := openai.Skip(answer, value)
			switch string(name) {
			case "prompt_tokens", "completion_tokens", "total_tokens":
				e.replace(span{value, end}, scale(string(answer[value:end]), real, told))
			}
			return end
		})
	})
	return spliced(answer, e)
}

// Interface guards
var (
	_ llmgateway.Exchange  = (*exchange)(nil)
	_ llmgateway.Shortener = (*exchange)(nil)
)
