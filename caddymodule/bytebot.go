package caddymodule

import (
	"errors"
	"fmt"
	"image"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/bytebot"
)

func init() {
	caddy.RegisterModule(Bytebot{})
}

// bytebots holds what all running configurations remember of Bytebot's conversations, so that a reload forgets nothing.
var bytebots = caddy.NewUsagePool()

// bytebotKey is the key of the one memory.
const bytebotKey = "bytebot"

// bytebotMemory makes a memory a caddy.Destructor.
type bytebotMemory struct{ *bytebot.Memory }

// Destruct implements caddy.Destructor.
func (m bytebotMemory) Destruct() error {
	m.Close()
	return nil
}

// Bytebot makes [Bytebot](https://github.com/bytebot-ai/bytebot) work with any model, unchanged: it mends the conversations that
// the agent sends, and what is answered. What needs no mending passes as it is.
type Bytebot struct {
	BytebotTarget

	// Whether conversations are brought into the order and the form that models and providers expect. Default: true.
	RepairMessages *bool `json:"repair_messages,omitempty"`

	// Whether the arguments of earlier calls are sent as the model wrote them, not as the agent keeps them, so that the prompt
	// cache of a model holds. Default: true.
	RestoreArguments *bool `json:"restore_arguments,omitempty"`

	// Whether an image that is the same as the one before is replaced by a text that says so. Default: true.
	SkipEqualImages *bool `json:"skip_equal_images,omitempty"`

	// Whether conversations that do not fit into a target's context are made shorter, and answers that do not fit. Default: true.
	FitWindow *bool `json:"fit_window,omitempty"`

	// Whether the agent is told a usage that makes it summarise at three quarters of the real context. The true one is in logs and
	// metrics. Default: true.
	ScaleUsage *bool `json:"scale_usage,omitempty"`

	// Whether members of requests that a target does not take, as its errors say, are left out or written otherwise. Default: true.
	LearnParameters *bool `json:"learn_parameters,omitempty"`

	// Whether models must call a tool when they are offered one that ends the task. Without that, one that only talks is asked again
	// without end. Default: true.
	RequireTools *bool `json:"require_tools,omitempty"`

	// How large the agent takes a model's context for, in tokens. Default: what `llm_bytebot_models` tells, where the configuration
	// has it; else 128000, which the agent takes all models of a proxy for.
	ToldWindow int `json:"told_window,omitempty"`

	// What is different for some targets, by provider, or by provider and model with a slash between.
	Targets map[string]*BytebotTarget `json:"targets,omitempty"`

	BytebotAnswers

	*bytebot.Adapter `json:"-"`

	held bool
}

// BytebotTarget is what may be different for some targets.
type BytebotTarget struct {
	// How many images stay, the newest, once there are more than `max_images`. Default: 4.
	KeepImages *int `json:"keep_images,omitempty"`

	// How many images a request may have. Older ones are replaced by a text. -1 is no bound. Default: 10.
	MaxImages int `json:"max_images,omitempty"`

	// The longest edge of images in pixels; larger ones are made smaller, and coordinates are converted. Default: no bound.
	MaxImageEdge int `json:"max_image_edge,omitempty"`

	// The quality of JPEG, 1 to 100, that images are encoded in anew where that makes them smaller. Default: they are not.
	JPEGQuality int `json:"jpeg_quality,omitempty"`

	// How large a request may be, in bytes. Older images are left out of a larger one. Default: no bound.
	MaxRequest int64 `json:"max_request,omitempty"`

	// The width and the height of the screen in the numbers in which the model counts, such as 1000 and 1000. Default: it counts
	// the pixels of what it sees.
	Coordinates *[2]int `json:"coordinates,omitempty"`

	// Members of requests to leave out. Default: those that the target is found not to take.
	Without []string `json:"without,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Bytebot) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.clients.bytebot",
		New: func() caddy.Module { return new(Bytebot) },
	}
}

// Provision implements caddy.Provisioner.
func (b *Bytebot) Provision(ctx caddy.Context) error {
	config := bytebot.Config{
		KeepMessages: !on(b.RepairMessages), KeepArguments: !on(b.RestoreArguments), KeepEqualImages: !on(b.SkipEqualImages),
		KeepWindow: !on(b.FitWindow), KeepUsage: !on(b.ScaleUsage), KeepParameters: !on(b.LearnParameters), FreeToTalk: !on(b.RequireTools),
		Targets: make(map[string]bytebot.Options, len(b.Targets)),
	}
	app, err := ctx.App("llm")
	if err != nil {
		return err
	}
	config.Window = app.(*App).toldWindow
	if b.ToldWindow > 0 {
		config.Window = func(string) int { return b.ToldWindow }
	}
	if config.Options, err = b.options(); err != nil {
		return fmt.Errorf("client bytebot: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Targets)) {
		if b.Targets[name] == nil {
			return fmt.Errorf("client bytebot: target %s: nothing is said of it", name)
		}
		if config.Targets[name], err = b.Targets[name].options(); err != nil {
			return fmt.Errorf("client bytebot: target %s: %w", name, err)
		}
	}
	value, _, err := bytebots.LoadOrNew(bytebotKey, func() (caddy.Destructor, error) {
		memory, err := bytebot.NewMemory()
		return bytebotMemory{memory}, err
	})
	if err != nil {
		return err
	}
	config.Memory, b.held = value.(bytebotMemory).Memory, true
	b.configure(&config)
	b.Adapter = bytebot.New(config)
	return nil
}

// on returns what a switch says that is on unless it is switched off.
func on(set *bool) bool { return set == nil || *set }

// options returns the core's options.
func (t *BytebotTarget) options() (o bytebot.Options, err error) {
	if t.MaxImages < -1 || t.MaxImageEdge < 0 || t.MaxRequest < 0 || t.JPEGQuality < 0 || t.JPEGQuality > 100 {
		return o, errors.New("a number is out of its range")
	}
	o = bytebot.Options{
		MaxImages: t.MaxImages, Encoding: bytebot.Encoding{JPEG: t.JPEGQuality, MaxEdge: t.MaxImageEdge},
		MaxRequestBytes: int(t.MaxRequest), Without: t.Without,
	}
	if t.KeepImages != nil {
		o.KeepImages = *t.KeepImages
		if o.KeepImages < 0 || t.MaxImages == 0 || t.MaxImages > 0 && o.KeepImages > t.MaxImages {
			return o, errors.New("keep_images: say how many images stay of at most max_images")
		}
	} else if t.MaxImages > 0 {
		o.KeepImages = max(1, t.MaxImages/2)
	}
	if t.Coordinates != nil {
		o.Space = image.Pt(t.Coordinates[0], t.Coordinates[1])
		if o.Space.X <= 0 || o.Space.Y <= 0 {
			return o, errors.New("coordinates: write the width and the height of the screen as the model counts them")
		}
	}
	return o, nil
}

// Cleanup implements caddy.CleanerUpper. Requests that are still running may use the memory after it.
func (b *Bytebot) Cleanup() error {
	if !b.held {
		return nil
	}
	b.held = false
	_, err := bytebots.Delete(bytebotKey)
	return err
}

// Interface guards
var (
	_ llmgateway.Adapter = (*Bytebot)(nil)
	_ caddy.Provisioner  = (*Bytebot)(nil)
	_ caddy.CleanerUpper = (*Bytebot)(nil)
)
