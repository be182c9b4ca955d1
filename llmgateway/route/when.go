package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Rule is something that holds for a request or does not. One of Needs, Above, Below and Header is set.
type Rule struct {
	// Not turns the condition round.
	Not bool
	// Needs holds for a request that needs all of these, as [openai.Needs] finds.
	Needs llmgateway.Capabilities
	// Above holds for a prompt of more tokens, Below for one of fewer, as [openai.PromptTokens] estimates.
	Above, Below int
	// Header holds for a request that has this field, if its value is one of Values or there are none of these. The name is
	// in canonical form, and whoever makes requests puts the field into [llmgateway.Request].Header.
	Header string
	Values []string
}

// errConditions is the cause of errors that tell of a target's conditions.
var errConditions = errors.New("the target's conditions do not hold")

// excluded returns why the target is not for a request, or nil if all its conditions hold.
func (t *Target) excluded(d *demand) *llmgateway.Error {
	var others []string
	for _, c := range t.When {
		if !c.holds(d) {
			others = append(others, c.describe(d))
		}
	}
	if others == nil {
		return nil
	}
	message := "it is only for requests " + strings.Join(others, " and ")
	return &llmgateway.Error{Kind: llmgateway.Unsupported, Message: message, Err: errConditions}
}

func (c *Rule) holds(d *demand) bool {
	var is bool
	switch {
	case c.Needs != 0:
		is = d.needed()&c.Needs == c.Needs
	case c.Above > 0:
		is = d.estimated() > c.Above
	case c.Below > 0:
		is = d.estimated() < c.Below
	default:
		values := d.req.Header[c.Header]
		is = len(values) > 0 && len(c.Values) == 0 ||
			slices.ContainsFunc(values, func(value string) bool { return slices.Contains(c.Values, value) })
	}
	return is != c.Not
}

// describe says which requests meet a condition that this one does not meet. The values of a header may be secrets.
func (c *Rule) describe(d *demand) string {
	with := map[bool]string{false: "with ", true: "without "}[c.Not]
	switch {
	case c.Needs != 0:
		return "that " + map[bool]string{false: "need", true: "do not need"}[c.Not] + " it to " + c.Needs.String()
	case c.Above > 0 && !c.Not:
		return fmt.Sprintf("of more than %d tokens (this one has about %d)", c.Above, d.estimated())
	case c.Above > 0:
		return fmt.Sprintf("of at most %d tokens (this one has about %d)", c.Above, d.estimated())
	case c.Below > 0 && !c.Not:
		return fmt.Sprintf("of fewer than %d tokens (this one has about %d)", c.Below, d.estimated())
	case c.Below > 0:
		return fmt.Sprintf("of at least %d tokens (this one has about %d)", c.Below, d.estimated())
	case len(c.Values) > 0:
		return with + "certain values of the header " + c.Header
	default:
		return with + "the header " + c.Header
	}
}

// needed returns what the request needs, which is looked for once.
func (d *demand) needed() llmgateway.Capabilities {
	if !d.scanned {
		d.scanned, d.needs = true, openai.Needs(d.req)
	}
	return d.needs
}

// estimated returns about how many tokens the prompt has, which is counted once.
func (d *demand) estimated() int {
	if d.estimate == nil {
		d.estimate = new(openai.PromptTokens(d.req))
	}
	return *d.estimate
}

// conditional reports whether a target was passed over for its conditions.
func (f failure) conditional() bool { return f.skipped && errors.Is(f.err, errConditions) }

// allConditional is the end of the error for a request that every target was passed over for.
const allConditional = "; to take every request, a model needs a target without `when`"
