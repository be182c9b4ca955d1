package route

import (
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// allows reports whether a client may ask for a model: whether one of the names that it is allowed stands for that model or,
// if what is configured stands for many, for the very name that was asked for.
func (t *Table) allows(allowed []string, m match) bool {
	if len(allowed) == 0 {
		return true
	}
	many := strings.HasSuffix(m.name, "*")
	return slices.ContainsFunc(allowed, func(name string) bool {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			return strings.HasPrefix(m.asked, prefix) || !many && strings.HasPrefix(m.name, prefix)
		}
		if name == m.asked {
			return true
		}
		_, model := t.lookup(name)
		return !many && model == m.name
	})
}

// noModel is the error for a model that there is not, or that the client may not ask for: it does not learn which.
func (t *Table) noModel(allowed []string, asked string) error {
	e := &llmgateway.Error{Kind: llmgateway.NoModel, Param: "model"}
	if len(allowed) > 0 {
		e.Message = "the model " + shown(asked) + " does not exist here, or is not for this key; it is for: " + strings.Join(allowed, ", ")
		return e
	}
	e.Message = "the model " + shown(asked) + " does not exist here; there are: " + strings.Join(t.names(), ", ")
	return e
}
