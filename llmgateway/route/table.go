package route

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Table is a Provider that finds the model a request names and hands the request to its Router.
type Table struct {
	// Models maps what clients may ask for to who answers. A name that ends in * stands for all names that begin so.
	Models map[string]*Router
	// Aliases maps further names to names in Models. They may end in * too.
	Aliases map[string]string
	// Providers are the names of all configured providers.
	Providers []string
}

// Generate implements llmgateway.Provider. A request with a list of models is answered by the first of them that can.
func (t *Table) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	wishes, err := t.wishes(req)
	if err != nil {
		return func(yield func(llmgateway.Event, error) bool) { yield(llmgateway.Event{}, err) }
	}
	if len(wishes) > 1 {
		return t.inOrder(ctx, wishes)
	}
	return wishes[0].generate(ctx, t)
}

// Check returns what is wrong with the model or the provider that a request names, or nil.
func (t *Table) Check(req *llmgateway.Request) error {
	_, _, err := t.resolve(req)
	return err
}

// resolve finds the router for a request. The request it returns has the name that targets without a model of their own
// are asked for, and the provider if the client named one before a slash.
func (t *Table) resolve(req *llmgateway.Request) (*Router, *llmgateway.Request, error) {
	m := t.find(req.Model)
	if m.router == nil || !t.allows(req.Allowed, m) {
		return nil, nil, t.noModel(req.Allowed, m.asked)
	}
	if m.prefix != "" && req.Provider != "" && req.Provider != m.prefix {
		return nil, nil, &llmgateway.Error{
			Kind: llmgateway.InvalidRequest, Param: "provider",
			Message: "the model names provider " + m.prefix + ", but the request names provider " + req.Provider + "; name one",
		}
	}
	resolved := *req
	resolved.Provider = cmp.Or(m.prefix, req.Provider)
	resolved.Model = m.name
	if strings.HasSuffix(m.name, "*") {
		resolved.Model = m.asked
	}
	if resolved.Provider != "" && !slices.ContainsFunc(m.router.Targets, func(t *Target) bool { return t.Name == resolved.Provider }) {
		return nil, nil, &llmgateway.Error{
			Kind: llmgateway.InvalidRequest, Param: "provider",
			Message: "the model " + shown(m.asked) + " is not offered by provider " + shown(resolved.Provider) +
				"; it is offered by: " + strings.Join(m.router.providers(), ", "),
		}
	}
	if resolved.Provider == "" && m.router.Named {
		return nil, nil, m.unnamed()
	}
	return m.router, &resolved, nil
}

// unnamed is the error for a request that leaves open who answers where that is not allowed.
func (m match) unnamed() *llmgateway.Error {
	providers := m.router.providers()
	return &llmgateway.Error{
		Kind: llmgateway.InvalidRequest, Param: "provider",
		Message: fmt.Sprintf("the model %s leaves the choice of the provider to you: name one, as \"provider\": %q in the request, in the header X-LLM-Provider, or as the model %q; there are: %s",
			shown(m.asked), providers[0], providers[0]+"/"+m.asked, strings.Join(providers, ", ")),
	}
}

// Resolve returns the configured name that a client's model stands for, or "" if there is none. It is for labels, whose
// values must be bounded.
func (t *Table) Resolve(req *llmgateway.Request) string { return t.find(req.Model).name }

// Has reports whether some target may answer for what a client's model stands for: it is configured and, where it leads to
// catalogs only, one of them has it now.
func (t *Table) Has(req *llmgateway.Request) bool {
	router, resolved, err := t.resolve(req)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(router.Targets, func(t *Target) bool {
		return (resolved.Provider == "" || t.Name == resolved.Provider) && t.provider(resolved.Model) != nil
	})
}

// match is what a client's model turned out to be.
type match struct {
	router *Router
	name   string // in Models
	asked  string // without the prefix
	prefix string // the provider before a slash, if the client meant one
}

// find returns the match for a name; without one it has no router.
func (t *Table) find(asked string) match {
	router, name := t.lookup(asked)
	// A model "*" takes any name, also one that begins with a provider's; the provider is then meant.
	if prefix, rest, ok := strings.Cut(asked, "/"); ok && (router == nil || name == "*") && slices.Contains(t.Providers, prefix) {
		if r, n := t.lookup(rest); r != nil {
			return match{r, n, rest, prefix}
		}
	}
	return match{router, name, asked, ""}
}

// lookup returns the router for a name, and the name in Models that it was found by.
func (t *Table) lookup(asked string) (*Router, string) {
	if name, ok := t.Aliases[asked]; ok {
		asked = name
	}
	if r, ok := t.Models[asked]; ok && asked != "*" {
		return r, asked
	}
	name := longestMatch(maps.Keys(t.Models), asked)
	if alias := longestMatch(maps.Keys(t.Aliases), asked); len(alias) > len(name) {
		name = t.Aliases[alias]
	}
	return t.Models[name], name
}

// longestMatch returns the most specific of the patterns ending in * that name matches.
func longestMatch(patterns iter.Seq[string], name string) (best string) {
	for p := range patterns {
		prefix, ok := strings.CutSuffix(p, "*")
		if ok && strings.HasPrefix(name, prefix) && len(p) > len(best) {
			best = p
		}
	}
	return best
}

func (t *Table) names() []string { return slices.Sorted(maps.Keys(t.Models)) }

func (r *Router) providers() []string {
	var names []string
	for _, t := range r.Targets {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	return names
}

// shown quotes what a client wrote, shortened.
func shown(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return `"` + strings.ToValidUTF8(s, "?") + `"`
}
