package bytebot

import (
	"cmp"
	"image"
)

// Config says what an [Adapter] does. The zero value does everything that has a default.
type Config struct {
	// Memory is what is remembered; it may be shared. It must be set.
	Memory *Memory

	// KeepMessages leaves conversations in the order in which the agent sends them, and in the form in which it does.
	KeepMessages bool
	// KeepArguments leaves the arguments of calls as the agent writes them.
	KeepArguments bool
	// KeepEqualImages sends an image again that is the same as the one before.
	KeepEqualImages bool
	// KeepWindow leaves conversations as they are that do not fit into a target's context, and the length of answers that is asked
	// for.
	KeepWindow bool
	// KeepParameters leaves members that a target does not take.
	KeepParameters bool
	// FreeToTalk does not ask for a call of a tool. Without it, a model that is offered set_task_status must call some tool.
	FreeToTalk bool
	// KeepUsage tells the agent the true usage.
	KeepUsage bool

	// KeepCalls leaves tool calls as models make them.
	KeepCalls bool
	// ShowErrors passes errors on to the agent, which gives the task up. Otherwise they become a request for help.
	ShowErrors bool
	// LoopNudge is how often a model may do the same before it is told to do something else, and LoopHelp how often before the
	// user is asked for help. 0 is the default, 3 and 6; less is never.
	LoopNudge, LoopHelp int

	// Window returns how large the agent thinks that a model's context is. Nil means always 128000, which is what the agent takes
	// all models of a proxy for.
	Window func(model string) int

	// Options are for all targets.
	Options Options
	// Targets are options for some targets, by provider, or by provider and model with a slash between. They are in place of
	// those for all, one by one.
	Targets map[string]Options
}

// Options are what may differ from target to target. What is zero has a default.
type Options struct {
	// KeepImages is how many images stay, the newest, once there are more than MaxImages. -1 for MaxImages is no bound.
	KeepImages, MaxImages int
	// Encoding is how images are encoded anew.
	Encoding Encoding
	// MaxRequestBytes is how large a request may be; 0 is no bound. Older images are left out of a larger one.
	MaxRequestBytes int
	// Space is how the model counts coordinates: the width and the height of a screen in its numbers, such as 1000 x 1000. Zero
	// means that it counts the pixels of what it sees.
	Space image.Point
	// Without are members of requests to leave out.
	Without []string
}

const (
	defaultKeepImages = 4
	defaultMaxImages  = 10
	defaultWindow     = 128000
	// otherWindow is what the agent takes a model's context for that it asks by another API than that of a proxy, and longWindow
	// that of one that it knows better.
	otherWindow = 200000
	longWindow  = 1047576
)

// over returns o with what it leaves out taken from base.
func (o Options) over(base Options) Options {
	if o.MaxImages == 0 && o.KeepImages == 0 {
		o.KeepImages, o.MaxImages = base.KeepImages, base.MaxImages
	}
	o.Encoding.JPEG = cmp.Or(o.Encoding.JPEG, base.Encoding.JPEG)
	o.Encoding.MaxEdge = cmp.Or(o.Encoding.MaxEdge, base.Encoding.MaxEdge)
	o.MaxRequestBytes = cmp.Or(o.MaxRequestBytes, base.MaxRequestBytes)
	if o.Space == (image.Point{}) {
		o.Space = base.Space
	}
	if o.Without == nil {
		o.Without = base.Without
	}
	return o
}

// options returns those of a target.
func (a *Adapter) options(t target) Options {
	o := a.config.Targets[t.provider+"/"+t.model].over(a.config.Targets[t.provider])
	return o.over(a.config.Options)
}
