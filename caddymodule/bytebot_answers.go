package caddymodule

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/bytebot"
)

// BytebotAnswers is what is done about the answers that the agent gets.
type BytebotAnswers struct {
	// Whether tool calls are mended: those that a model wrote as text become calls, names and arguments are fitted to the tools,
	// and a model whose call makes no sense is asked again once. Default: true.
	RepairCalls *bool `json:"repair_calls,omitempty"`

	// Whether a request that failed for good is answered with a call that sets the task to NEEDS_HELP and says what happened, so
	// that the user can read it and resume the task. The agent gives a task up for an error. Default: true.
	NeedsHelp *bool `json:"needs_help,omitempty"`

	// How often a model may do the same in a row until it is told to do something else. -1 switches it off. Default: 3.
	LoopNudge int `json:"loop_nudge,omitempty"`

	// How often a model may do the same in a row until the user is asked for help. -1 switches it off. Default: 6.
	LoopHelp int `json:"loop_help,omitempty"`

	// How long the agent waits until it gets the header of an answer and white space in front of it, so that it does not give up:
	// it does after 300s. -1 switches it off. Default: 20s.
	Padding caddy.Duration `json:"padding,omitempty"`

	// How often more white space follows. Default: 15s.
	PaddingInterval caddy.Duration `json:"padding_interval,omitempty"`
}

// configure adds to an adapter's configuration.
func (a *BytebotAnswers) configure(c *bytebot.Config) {
	c.KeepCalls, c.ShowErrors = !on(a.RepairCalls), !on(a.NeedsHelp)
	c.LoopNudge, c.LoopHelp = a.LoopNudge, a.LoopHelp
}

const (
	defaultPadding         = 20 * time.Second
	defaultPaddingInterval = 15 * time.Second
)

// padding implements padder.
func (a *BytebotAnswers) padding() (first, interval time.Duration) {
	first, interval = defaultPadding, defaultPaddingInterval
	if a.Padding != 0 {
		first = time.Duration(a.Padding)
	}
	if a.PaddingInterval > 0 {
		interval = time.Duration(a.PaddingInterval)
	}
	return first, interval
}

// bytebotAnswerWords are the words that unmarshalAnswerWord knows.
const bytebotAnswerWords = "repair_calls, needs_help, loop_guard, padding"

// unmarshalAnswerWord parses the word that the dispenser stands at, if it is about answers.
func (a *BytebotAnswers) unmarshalAnswerWord(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "repair_calls":
		a.RepairCalls = new(bool)
		return true, unmarshalSwitch(d, a.RepairCalls)
	case "needs_help":
		a.NeedsHelp = new(bool)
		return true, unmarshalSwitch(d, a.NeedsHelp)
	case "loop_guard":
		return true, a.unmarshalLoopGuard(d)
	case "padding":
		return true, a.unmarshalPadding(d)
	}
	return false, nil
}

func (a *BytebotAnswers) unmarshalLoopGuard(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		a.LoopNudge, a.LoopHelp = -1, -1
		return nil
	}
	if len(args) == 0 || len(args) > 2 {
		return d.ArgErr()
	}
	for i, to := range []*int{&a.LoopNudge, &a.LoopHelp} {
		if i == len(args) {
			a.LoopHelp = 2 * a.LoopNudge
			break
		}
		n, err := strconv.Atoi(args[i])
		if err != nil || n <= 0 {
			return d.Errf("loop_guard: %q is not a number above 0; write how often a model may do the same until it is told so, and until the user is asked for help, or off", args[i])
		}
		*to = n
	}
	if a.LoopHelp < a.LoopNudge {
		return d.Errf("loop_guard: the user would be asked for help after %d times, before the model is told after %d", a.LoopHelp, a.LoopNudge)
	}
	return nil
}

func (a *BytebotAnswers) unmarshalPadding(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		a.Padding = -1
		return nil
	}
	if len(args) == 0 || len(args) > 2 {
		return d.ArgErr()
	}
	for i, to := range []*caddy.Duration{&a.Padding, &a.PaddingInterval} {
		if i == len(args) {
			break
		}
		value, err := caddy.ParseDuration(args[i])
		if err != nil || value <= 0 {
			return d.Errf("padding: %q is not a duration above 0 such as 20s; write how long the agent waits for the first white space, and how often more follows, or off", args[i])
		}
		*to = caddy.Duration(value)
	}
	return nil
}

// Interface guards
var _ padder = (*BytebotAnswers)(nil)
