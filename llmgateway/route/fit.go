package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// limits returns what is known of the target's model when the client asked for asked. What the configuration says counts
// more than what the provider knows.
func (t *Target) limits(p llmgateway.Provider) llmgateway.Limits {
	var l llmgateway.Limits
	if m, ok := p.(llmgateway.Modeler); ok {
		l = m.ModelInfo().Limits()
	}
	if t.Context > 0 {
		l.Context = t.Context
	}
	if t.Capabilities != nil {
		l.Can, l.Cannot = *t.Capabilities, ^*t.Capabilities
	}
	return l
}

// Limits returns the best that is known of the router's targets when a client asks for the model: what one of them can do,
// what none of them can, and the longest context. Targets that are switched off do not count.
func (r *Router) Limits(model string) llmgateway.Limits {
	best := llmgateway.Limits{Cannot: ^llmgateway.Capabilities(0)}
	known := false
	for _, t := range r.Targets {
		p := t.provider(model)
		if p == nil || llmgateway.StatusOf(p).State == llmgateway.StateDisabled {
			continue
		}
		known = true
		l := t.limits(p)
		best.Context = max(best.Context, l.Context)
		best.Can |= l.Can
		best.Cannot &= l.Cannot
	}
	if !known {
		return llmgateway.Limits{}
	}
	return best
}

// demand is what a request asks of a model. It is found when a target's limits are first compared with it: where nothing is
// known of the targets it costs nothing.
type demand struct {
	req      *llmgateway.Request
	scanned  bool
	needs    llmgateway.Capabilities
	counted  bool
	tokens   int  // that the prompt has at least
	exceeded int  // a context that the request did not fit into, as its provider said
	estimate *int // about how many tokens it has; nil until that is asked for
}

// unmet returns what is wrong with asking a model of such limits, or nil. What is not known is taken for granted.
func (d *demand) unmet(l llmgateway.Limits) *llmgateway.Error {
	if l.Cannot&d.possible() != 0 {
		if lacking := d.needed() & l.Cannot; lacking != 0 {
			return &llmgateway.Error{Kind: llmgateway.Unsupported, Message: "it cannot " + lacking.String(), Param: paramOf(lacking)}
		}
	}
	switch {
	case l.Context == 0 || d.req.Operation == llmgateway.Embeddings:
		return nil
	case l.Context <= d.exceeded:
		return tooLong("its context of %d tokens is no longer", l.Context)
	case openai.MaxMinTokens(len(d.req.Body.Bytes)) <= l.Context, d.shortened():
		return nil
	}
	if !d.counted {
		d.counted, d.tokens = true, openai.MinTokens(d.req)
	}
	if d.tokens > l.Context {
		return tooLong("the prompt has at least %d tokens, and its context is %d", d.tokens, l.Context)
	}
	return nil
}

// shortened reports whether an adapter makes the request shorter if need be.
func (d *demand) shortened() bool {
	s, ok := d.req.Exchange.(llmgateway.Shortener)
	return ok && s.Shortens()
}

func tooLong(format string, args ...any) *llmgateway.Error {
	return &llmgateway.Error{Kind: llmgateway.ContextLength, Message: fmt.Sprintf(format, args...), Param: "messages"}
}

// possible returns what a request of this kind may need.
func (d *demand) possible() llmgateway.Capabilities {
	if d.req.Operation == llmgateway.Embeddings {
		return llmgateway.CanEmbed
	}
	return ^(llmgateway.CanEmbed | llmgateway.CanReason | llmgateway.CanPrefill)
}

// paramOf names the member of a request that needs what is lacking.
func paramOf(lacking llmgateway.Capabilities) string {
	switch {
	case lacking&(llmgateway.CanSee|llmgateway.CanHear) != 0:
		return "messages"
	case lacking&llmgateway.CanCallTools != 0:
		return "tools"
	case lacking&llmgateway.CanFollowSchema != 0:
		return "response_format"
	default:
		return ""
	}
}

// maxNamed bounds how many targets an error names.
const maxNamed = 8

// fitting returns who else could be asked, as clients may write it: provider/model. Targets that failed are left out.
func (t *Table) fitting(d *demand, failures []failure) []string {
	var names []string
	for _, model := range t.names() {
		for _, target := range t.Models[model].Targets {
			failed := slices.ContainsFunc(failures, func(f failure) bool { return f.target == target })
			for _, asked := range target.offers(model) {
				name := target.Name + "/" + asked
				if failed && (asked == model || asked == d.req.Model) || slices.Contains(names, name) {
					continue
				}
				if target.fits(d, asked) && t.allows(d.req.Allowed, match{name: model, asked: asked}) {
					names = append(names, name)
				}
			}
		}
	}
	if len(names) > maxNamed {
		names = append(names[:maxNamed], "...")
	}
	return names
}

// offers returns the names that stand for a configured one at the target: those of a catalog's models where the name ends
// in *, else the name itself.
func (t *Target) offers(model string) []string {
	prefix, many := strings.CutSuffix(model, "*")
	c, ok := t.Provider.(llmgateway.Catalog)
	if !many || !ok || t.Model != "" {
		return []string{model}
	}
	return slices.DeleteFunc(slices.Clone(c.Models()), func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

// fits reports whether the target could serve the request now if it asked for the model. Where one context was too short, only
// one that is known to be longer fits.
func (t *Target) fits(d *demand, asked string) bool {
	p := t.provider(asked)
	if p == nil || !llmgateway.StatusOf(p).State.Live() || !t.Drain.Since().IsZero() {
		return false
	}
	l := t.limits(p)
	return d.unmet(l) == nil && t.excluded(d) == nil && (d.exceeded == 0 || l.Context > 0)
}

// advice is the end of the error for a request that is beyond all targets it may go to: who else could be asked.
func (t *Table) advice(d *demand, failures []failure) string {
	if names := t.fitting(d, failures); len(names) > 0 {
		return "; what can take this request here: " + strings.Join(names, ", ")
	}
	return "; nothing here can take this request"
}
