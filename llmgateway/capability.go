package llmgateway

import (
	"fmt"
	"slices"
	"strings"
)

// Capabilities is a set of what a model can do, or of what a request needs.
type Capabilities uint8

const (
	// CanSee is to take images.
	CanSee Capabilities = 1 << iota
	// CanHear is to take sound.
	CanHear
	// CanCallTools is to call the tools that a request offers.
	CanCallTools
	// CanFollowSchema is to answer with JSON that follows a schema.
	CanFollowSchema
	// CanEmbed is to make embeddings.
	CanEmbed
	// CanReason is to think before the answer. No request needs it: asking for effort is a wish.
	CanReason
	// CanPrefill is to go on with an assistant's message at the end of a conversation. No request needs it; it lets a model
	// finish what another has begun.
	CanPrefill
)

// capabilityNames are the words for each capability, in the order of their bits, and what it lets a target do.
var capabilityNames = []struct{ word, does string }{
	{"vision", "take images"},
	{"audio", "take sound"},
	{"tools", "call tools"},
	{"json", "follow a JSON schema"},
	{"embeddings", "make embeddings"},
	{"reasoning", "reason"},
	{"prefill", "go on with an answer"},
}

// ParseCapabilities returns the set that the words stand for: vision, audio, tools, json, embeddings, reasoning,
// prefill.
func ParseCapabilities(words []string) (Capabilities, error) {
	var set Capabilities
	for _, word := range words {
		i := slices.IndexFunc(capabilityNames, func(n struct{ word, does string }) bool { return n.word == word })
		if i < 0 {
			return 0, fmt.Errorf("there is no capability %q; there are: %s", word, strings.Join(allCapabilities.Words(), ", "))
		}
		set |= 1 << i
	}
	return set, nil
}

const allCapabilities = CanPrefill<<1 - 1

// Words returns the words for the set's members, in a fixed order.
func (c Capabilities) Words() []string {
	var words []string
	for i, name := range capabilityNames {
		if c&(1<<i) != 0 {
			words = append(words, name.word)
		}
	}
	return words
}

// String says what the set's members let a model do, such as "take images or call tools".
func (c Capabilities) String() string {
	var does []string
	for i, name := range capabilityNames {
		if c&(1<<i) != 0 {
			does = append(does, name.does)
		}
	}
	return strings.Join(does, " or ")
}

// Limits is what is known of a model's abilities. What is in neither set is unknown.
type Limits struct {
	// Context is the most tokens that one request may hold, prompt and answer together, or 0 if unknown.
	Context int
	// Can is what the model is known to do.
	Can Capabilities
	// Cannot is what it is known not to do.
	Cannot Capabilities
}

// Knows returns whether the model can do c, or nil if that is unknown.
func (l Limits) Knows(c Capabilities) *bool {
	can := l.Can&c == c
	if !can && l.Cannot&c == 0 {
		return nil
	}
	return &can
}

// Limits returns what a provider's own knowledge of its model says.
func (i ModelInfo) Limits() Limits {
	l := Limits{Context: i.Context}
	l.learn(CanSee, i.Vision)
	l.learn(CanHear, i.Audio)
	l.learn(CanCallTools, i.Tools)
	l.learn(CanEmbed, i.Embeddings)
	if i.Prefill {
		l.Can |= CanPrefill
	}
	return l
}

func (l *Limits) learn(c Capabilities, can bool) {
	if can {
		l.Can |= c
	} else {
		l.Cannot |= c
	}
}
