package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/net/http/httpguts"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// Condition is something that holds for a request or does not. Give one of `needs`, `tokens_above`, `tokens_below` and `header`.
type Condition struct {
	// Turns the condition round.
	Not bool `json:"not,omitempty"`

	// What the request needs a model for: `images`, `audio`, `tools` (which it may call), or `json` (an answer by a JSON schema).
	Needs string `json:"needs,omitempty"`

	// The prompt has more tokens than this, as far as that can be estimated without the model's tokenizer.
	TokensAbove int `json:"tokens_above,omitempty"`

	// The prompt has fewer tokens than this.
	TokensBelow int `json:"tokens_below,omitempty"`

	// The request has this header field.
	Header string `json:"header,omitempty"`

	// The values that the header field may have. Default: any.
	Values []string `json:"values,omitempty"`
}

// needsByWord is what a request may need, as in [llmgateway.Capabilities] but from the request's side.
var needsByWord = map[string]llmgateway.Capabilities{
	"images": llmgateway.CanSee, "audio": llmgateway.CanHear, "tools": llmgateway.CanCallTools, "json": llmgateway.CanFollowSchema,
}

// rule returns the core's rule.
func (c *Condition) rule() (route.Rule, error) {
	if c == nil {
		return route.Rule{}, errors.New("when: a condition is empty")
	}
	rule := route.Rule{Not: c.Not, Above: c.TokensAbove, Below: c.TokensBelow, Values: c.Values}
	given := 0
	for _, is := range []bool{c.Needs != "", c.TokensAbove != 0, c.TokensBelow != 0, c.Header != ""} {
		if is {
			given++
		}
	}
	if given != 1 || c.Header == "" && c.Values != nil {
		return rule, errors.New("when: a condition is one of needs, tokens_above, tokens_below, and header with values")
	}
	if c.TokensAbove < 0 || c.TokensBelow < 0 {
		return rule, errors.New("when: a number of tokens is negative")
	}
	var known bool
	if rule.Needs, known = needsByWord[c.Needs]; !known && c.Needs != "" {
		return rule, fmt.Errorf("when: a request cannot need %q; it can need: images, audio, tools, json", c.Needs)
	}
	if c.Header != "" && !httpguts.ValidHeaderFieldName(c.Header) {
		return rule, fmt.Errorf("when: %q is not the name of a header field", c.Header)
	}
	rule.Header = http.CanonicalHeaderKey(c.Header)
	return rule, nil
}

// rules returns the core's rules of a target.
func (t *Target) rules() ([]route.Rule, error) {
	var rules []route.Rule
	for _, c := range t.When {
		rule, err := c.rule()
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// ruleHeaders returns the names of the header fields that some target's conditions look at.
func ruleHeaders(table *route.Table) []string {
	var names []string
	for _, router := range table.Models {
		for _, target := range router.Targets {
			for _, rule := range target.When {
				if rule.Header != "" && !slices.Contains(names, rule.Header) {
					names = append(names, rule.Header)
				}
			}
		}
	}
	return names
}

// headerOf returns what a request has of the named header fields, or nil if there are no names.
func headerOf(r *http.Request, names []string) map[string][]string {
	if len(names) == 0 {
		return nil
	}
	header := make(map[string][]string, len(names))
	for _, name := range names {
		if values := r.Header.Values(name); len(values) > 0 {
			header[name] = values
		}
	}
	return header
}

// unmarshalWhen parses `when [not] images|audio|tools|json`, `when [not] tokens above|below <n>`, or
// `when [not] header <field> [<values...>]`.
func unmarshalWhen(d *caddyfile.Dispenser, to *[]*Condition) error {
	args := d.RemainingArgs()
	c := new(Condition)
	if len(args) > 0 && args[0] == "not" {
		c.Not, args = true, args[1:]
	}
	if len(args) == 0 {
		return d.Err("when: write a condition behind it: images, audio, tools, json, tokens above <n>, tokens below <n>, or header <field> [<values...>]")
	}
	switch word := args[0]; {
	case word == "tokens" && len(args) == 3:
		n, err := strconv.Atoi(args[2])
		if err != nil || n < 1 {
			return d.Errf("when: %q is not a number from 1 up", args[2])
		}
		switch args[1] {
		case "above":
			c.TokensAbove = n
		case "below":
			c.TokensBelow = n
		default:
			return d.Errf("when: write tokens above %d or tokens below %d", n, n)
		}
	case word == "tokens":
		return d.Err("when: write tokens above <n> or tokens below <n>")
	case word == "header" && len(args) > 1:
		c.Header = args[1]
		if len(args) > 2 {
			c.Values = args[2:]
		}
	case word == "header":
		return d.Err("when: write header <field> [<values...>]")
	case needsByWord[word] != 0 && len(args) == 1:
		c.Needs = word
	case needsByWord[word] != 0:
		return d.Errf("when: write one condition in a line, and nothing behind %s", word)
	default:
		return d.Errf("when: there is no condition %s; there are: images, audio, tools, json, tokens above <n>, tokens below <n>, header <field> [<values...>]", word)
	}
	*to = append(*to, c)
	return nil
}
