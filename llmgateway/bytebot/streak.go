package bytebot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// streak is how often a model has done the same at the end of a conversation: one thing, or a few in turn.
type streak struct {
	count int
	// text is what the model said last, if it said something each time and called nothing.
	text string
	// calls are those that it made each time, while what it saw stayed the same.
	calls []string
	// round is how many turns it took each time.
	round int
	// waits is true if all that it called is to wait, and to look.
	waits bool
}

// longestRound is how many turns a model may take until it does the same again, for that to be seen.
const longestRound = 3

// step is one turn of the model.
type step struct {
	last  int // the last kind of message of it: a text, reasoning, calls
	text  string
	calls []string
	seen  span // the last screenshot behind it
	// human is set if a person said something behind it.
	human bool
}

const (
	sayingStep = iota
	thinkingStep
	callingStep
)

// streak returns what the model repeats. Words are a repetition in any case: the agent does nothing about them and asks again.
func (c *conversation) streak() streak {
	steps := c.steps()
	for i, step := range slices.Backward(steps) {
		if step.human {
			steps = steps[i+1:]
			break
		}
	}
	var s streak
	for round := 1; round <= min(longestRound, len(steps)); round++ {
		if count := c.rounds(steps, round); count > s.count {
			s = repeated(steps[len(steps)-round:])
			s.count, s.round = count, round
		}
	}
	return s
}

// rounds returns how often the last few turns were made. The same call with another screen is no repetition, even if that screen has
// been there before: a cursor may blink.
func (c *conversation) rounds(steps []step, round int) int {
	same := 0
	if last := len(steps) - 1; round > 1 && slices.Equal(steps[last].calls, steps[last-1].calls) {
		return 0
	}
	for i := len(steps) - 1; i >= round && c.same(steps[i], steps[i-round]); i-- {
		same++
	}
	return 1 + same/round
}

// repeated describes turns that were made again and again.
func repeated(steps []step) (s streak) {
	for _, step := range steps {
		s.text = step.text
		s.calls = append(s.calls, step.calls...)
	}
	waits := func(call string) bool { return strings.HasPrefix(call, "computer_wait ") }
	acts := func(call string) bool { return !waits(call) && !strings.HasPrefix(call, "computer_screenshot ") }
	s.waits = slices.ContainsFunc(s.calls, waits) && !slices.ContainsFunc(s.calls, acts)
	return s
}

// same reports whether two turns were equal: words both times, or equal calls with equal screenshots behind them.
func (c *conversation) same(a, b step) bool {
	if len(a.calls) != len(b.calls) {
		return false
	}
	for i := range a.calls {
		if a.calls[i] != b.calls[i] {
			return false
		}
	}
	return len(a.calls) == 0 || bytes.Equal(a.seen.in(c.body), b.seen.in(c.body))
}

// steps returns the model's turns. The agent sends a turn as a text, then reasoning, then calls, each as a message of its own
// or left out. A call that comes again belongs to another turn: the agent passes over calls of tools that it does not know.
func (c *conversation) steps() (steps []step) {
	images := c.images
	between := true
	made := make(map[string]bool) // by the last step
	for i, m := range c.messages {
		shown := images
		for len(images) > 0 && images[0].message == i {
			if len(steps) > 0 {
				steps[len(steps)-1].seen = images[0].url
			}
			images = images[1:]
		}
		if m.role != assistant {
			between = true
			if m.role == user && len(steps) > 0 && (c.says(m) || c.hasParts(m) && c.speaks(m, shown)) {
				steps[len(steps)-1].human = true
			}
			continue
		}
		kind := sayingStep
		switch {
		case len(m.calls) > 0:
			kind = callingStep
		case !m.reasoning.none():
			kind = thinkingStep
		}
		calls := make([]string, len(m.calls))
		for i, call := range m.calls {
			calls[i] = call.name + " " + inOrder(text(call.arguments.in(c.body)))
		}
		if between || kind <= steps[len(steps)-1].last && (kind != callingStep || made[calls[0]]) {
			steps = append(steps, step{})
			made = make(map[string]bool) // clear would take as long as there were ever many
		}
		for _, call := range calls {
			made[call] = true
		}
		between = false
		last := &steps[len(steps)-1]
		last.last = kind
		if c.says(m) {
			last.text = text(m.content.in(c.body))
		}
		last.calls = append(last.calls, calls...)
	}
	return steps
}

// speaks reports whether a person says something in a message of parts: a text that is no caption, which stands in front of its
// image. The first of images are the message's.
func (c *conversation) speaks(m message, images []picture) (spoken bool) {
	caption := false // if an image follows
	openai.EachElement(c.body, m.content.start, func(at int) int {
		if len(images) > 0 && images[0].part.start == at {
			end := images[0].part.end
			images, caption = images[1:], false
			return end
		}
		spoken, caption = spoken || caption, false
		return openai.EachMember(c.body, at, func(name []byte, value int) int {
			end := openai.Skip(c.body, value)
			if string(name) == "text" {
				caption = end-value > len(`""`)
			}
			return end
		})
	})
	return spoken || caption
}

// inOrder returns arguments in one order of their keys and without white space, in which the same ones are equal: agents keep
// them in an order of their own. What is no JSON stays.
func inOrder(arguments string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(arguments))
	d.UseNumber()
	if d.Decode(&v) != nil || d.More() {
		return arguments
	}
	var ordered strings.Builder
	e := json.NewEncoder(&ordered)
	e.SetEscapeHTML(false)  // the user may read it
	if e.Encode(v) != nil { // what was JSON is JSON again
		return arguments
	}
	return strings.TrimSuffix(ordered.String(), "\n")
}

func (c *Config) loopNudge() int { return cmp.Or(c.LoopNudge, 3) }

func (c *Config) loopHelp() int { return cmp.Or(c.LoopHelp, 6) }

// reached reports whether the streak is as long as a limit. Waiting may last longer: a model may have a reason for it.
func (s streak) reached(limit int) bool {
	const patience = 4
	if s.waits {
		limit *= patience
	}
	return limit > 0 && s.count >= limit
}

// nudge is what is said to a model that repeats itself.
func (s streak) nudge() string {
	if len(s.calls) == 0 {
		return "You have answered with words only, several times. Words have no effect here. Call one of the tools now. If the task is done, or you cannot go on without help, call set_task_status."
	}
	if s.round > 1 {
		return "You have done the same few things in turn, several times, and the screen was the same each time. Do something else: other coordinates, other keys, another way. If nothing helps, call set_task_status with needs_help and say what is in the way."
	}
	return "You have made the same call several times and the screen has not changed. Do something else: other coordinates, other keys, another way. If nothing helps, call set_task_status with needs_help and say what is in the way."
}

// help is what is said to the user when a nudge did not help.
func (s streak) help() string {
	if len(s.calls) == 0 {
		return "The model answers with words and does not use the computer. It said last: " + shorten(s.text)
	}
	if s.round > 1 {
		return "The model does the same few things again and again: " + shorten(strings.Join(s.calls, ", "))
	}
	return "The model has made the same call again and again while the screen stayed the same: " + shorten(strings.Join(s.calls, ", "))
}

// shorten keeps what is quoted for the user readable.
func shorten(s string) string {
	const most = 1000
	if runes := []rune(strings.TrimSpace(s)); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return strings.TrimSpace(s)
}
