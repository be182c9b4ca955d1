package bytebot

import (
	"context"
	"fmt"
	"image"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// attempt is one attempt at a target, in which it may be asked more than once: what it refuses tells how to ask it.
type attempt struct {
	x       *exchange
	to      llmgateway.Destination
	req     *llmgateway.Request
	lesson  lesson
	options Options
	asked   int
	// squeezed is how often the request did not fit.
	squeezed int

	// What follows is of the request that is sent.
	prompt int   // about how many tokens it has; 0 if that was not estimated
	size   int   // about how many bytes it has
	space  space // in which the model counts
}

// tooLarge is the code of an error that says that a request has more bytes than a provider takes.
const tooLarge = "request_too_large"

// maxAsked bounds how often a target is asked in one attempt.
const maxAsked = 6

// try asks the target once. again is true if it refused, nothing was yielded, and it can be asked in another way.
func (t *attempt) try(ctx context.Context, ask llmgateway.Generate, yield func(llmgateway.Event, error) bool) (again bool) {
	t.asked++
	t.space, t.prompt = space{}, 0
	next, err := t.tailored(ctx)
	if err != nil {
		yield(llmgateway.Event{}, err)
		return false
	}
	if next.Body != t.req.Body {
		defer next.Body.Release()
	}
	if err := t.tooLong(next); err != nil {
		yield(llmgateway.Event{}, err)
		return false
	}
	events := ask(ctx, t.parameters(next))
	if !t.space.pixels() {
		if next.Stream && !next.ClientStream {
			events = openai.Split(t.space.back(openai.Merge(events)))
		} else {
			events = t.space.back(events)
		}
	}
	begun := false
	for event, err := range events {
		if err != nil && !begun && ctx.Err() == nil && t.learn(llmgateway.AsError(err)) {
			return true
		}
		begun = begun || event.Carries
		if !yield(event, err) {
			return false
		}
	}
	return false
}

// tooLong returns an error if a request cannot fit into the target's context, whatever was left out.
func (t *attempt) tooLong(req *llmgateway.Request) error {
	limit := t.to.Limits.Context
	if limit == 0 || openai.MaxMinTokens(len(req.Body.Bytes)) <= limit {
		return nil
	}
	if least := openai.MinTokens(req); least > limit {
		return &llmgateway.Error{Kind: llmgateway.ContextLength, Param: "messages", Message: fmt.Sprintf(
			"without its earlier turns the conversation still has at least %d tokens, and the context is %d", least, limit,
		)}
	}
	return nil
}

// learn takes in why the target refused the request, and reports whether it can be asked in another way.
func (t *attempt) learn(err *llmgateway.Error) bool {
	config := t.x.adapter.config
	if t.asked >= maxAsked {
		return false
	}
	if err.Kind == llmgateway.ContextLength && !config.KeepWindow {
		t.squeezed++
		return t.canSqueeze()
	}
	if err.Code == tooLarge && !config.KeepWindow {
		next, ok := t.lesson.learnSize(t.size)
		t.lesson = next
		config.Memory.learned(targetOf(t.to), next)
		return ok
	}
	next, ok := t.lesson.learn(err, t.maxTokens())
	formed := next.form != t.lesson.form
	if !ok || formed && config.KeepMessages || !formed && config.KeepParameters {
		return false
	}
	t.lesson = next
	config.Memory.learned(targetOf(t.to), next)
	return true
}

// tailored returns the request with its conversation as the target wants it, or the request itself. A new body is the caller's.
func (t *attempt) tailored(ctx context.Context) (*llmgateway.Request, error) {
	c, ok := read(t.req)
	if !ok {
		return t.req, nil
	}
	s := shape{form: t.lesson.form, c: c}
	if err := t.recode(ctx, &s, t.fewer(&s)); err != nil {
		return nil, err
	}
	t.convert(&s)
	return s.of(t.req)
}

// recode encodes images anew, but for the first ones, which are left out.
func (t *attempt) recode(ctx context.Context, s *shape, out int) error {
	if t.options.Encoding == (Encoding{}) {
		return nil
	}
	var last recoded
	for _, picture := range s.c.images[out:] {
		r, err := t.x.adapter.config.Memory.recode(ctx, picture.url.in(s.c.body), t.options.Encoding)
		if err != nil {
			return err
		}
		if r.url != "" {
			s.edits.replace(picture.url, r.url)
		}
		if r.from != (image.Point{}) {
			last = r
		}
	}
	if last.from != last.to {
		t.space = space{screen: last.from, model: last.to}
		s.resize(last.from, last.to)
	}
	return nil
}

// convert writes the coordinates of earlier calls in the space in which the model counts.
func (t *attempt) convert(s *shape) {
	if t.options.Space != (image.Point{}) {
		t.space = space{screen: s.c.screen(), model: t.options.Space}
	}
	if t.space.pixels() {
		return
	}
	for _, m := range s.c.messages {
		for _, call := range m.calls {
			if call.arguments.none() {
				continue
			}
			now := string(call.arguments.in(s.c.body))
			if then := t.space.forModel(now); then != now {
				s.edits.replace(call.arguments.inside(), then[1:len(then)-1])
			}
		}
	}
}
