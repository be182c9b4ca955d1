package toolcall

import (
	"crypto/rand"
	"strings"
)

// Repairer mends the tool calls in answers to one request, in the wire format of OpenAI's chat completions.
type Repairer struct {
	// Tools are those offered. Without any, answers pass as they are.
	Tools *Tools
	// Taken reports whether the conversation has a call with that id already. nil means that none has.
	Taken func(id string) bool
	// Quote makes text of calls whose arguments are no JSON object, such as one that was cut off. A client may otherwise carry
	// them out without arguments.
	Quote bool
}

// repaired is what became of the calls of one choice.
type repaired struct {
	calls    []Call
	changed  bool
	problems []Problem
}

// quoted takes out calls whose arguments make no sense, and returns them as text.
func (r *Repairer) quoted(calls []Call) (rest []Call, said string) {
	if !r.Quote {
		return calls, ""
	}
	for _, c := range calls {
		_, err := readArguments(c.Arguments)
		switch {
		case c.Name == "":
			said += "\n\nI made a call without the name of a tool: " + shorten(c.Arguments)
			continue
		case err == nil:
			rest = append(rest, c)
			continue
		}
		said += "\n\nI called " + c.Name + ", but its arguments cannot be read: " + shorten(c.Arguments)
	}
	return rest, said
}

// repair mends calls and gives them ids where they have none of their own. Calls that cannot be mended stay as they are.
func (r *Repairer) repair(calls []Call) repaired {
	var all repaired
	given := make(map[string]bool, len(calls))
	for _, c := range calls {
		mended, problem := r.Tools.Mend(c)
		if problem != nil {
			all.problems = append(all.problems, *problem)
			mended = c
		}
		if mended.ID == "" || given[mended.ID] || r.Taken != nil && r.Taken(mended.ID) {
			mended.ID = NewID()
		}
		given[mended.ID] = true
		all.changed = all.changed || mended != c
		all.calls = append(all.calls, mended)
	}
	return all
}

// find finds calls in a message's text. Where a model's thinking has lost its first tag, what stands in front of the last is
// thinking.
func (t *Tools) find(text string) Found {
	thinking := ""
	if at := strings.LastIndex(text, "</think>"); at >= 0 && !strings.Contains(text, "<think>") {
		at += len("</think>")
		thinking, text = text[:at], text[at:]
	}
	found := t.Find(text)
	found.Text = thinking + found.Text
	return found
}

// NewID returns an id for a call that no other has.
func NewID() string { return "call_" + strings.ToLower(rand.Text()[:24]) }
