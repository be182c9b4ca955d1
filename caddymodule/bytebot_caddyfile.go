package caddymodule

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile sets up the client from Caddyfile tokens:
//
//	bytebot {
//		repair_messages   on|off      # bring conversations into the order that models expect; default: on, like all of these
//		restore_arguments on|off      # send earlier calls as the model wrote them, so that its prompt cache holds
//		skip_equal_images on|off      # send a screenshot that did not change once
//		fit_window        on|off      # make conversations and answers shorter that do not fit into a target's context
//		scale_usage       on|off      # tell a usage that makes the agent summarise in time
//		learn_parameters  on|off      # leave out or rename what a target does not take
//		require_tools     on|off      # a model that may end the task must call a tool, so that it does not talk without end
//		told_window       <tokens>    # what the agent takes a model's context for; default: what llm_bytebot_models tells, or 128000
//
//		repair_calls on|off            # make calls of what models wrote as text, and fit calls to their tools; default: on
//		needs_help   on|off            # ask the user for help where a request failed for good; default: on
//		loop_guard   <n> [<m>]|off     # after doing the same n times tell the model, after m times ask the user; default: 3 6
//		padding      <time> [<interval>]|off   # white space to an agent that waits for its answer; default: 20s 15s
//
//		images         <most> [<keep>]|all    # above so many, only the newest stay, so many; default: 10 4
//		max_image_edge <pixels>               # make larger images smaller, and convert coordinates; default: no bound
//		jpeg_quality   <1-100>                # send images as JPEG; default: as they are
//		max_request    <size>                 # leave older images out of a larger request; default: no bound
//		coordinates    <width> <height>       # how the model counts the screen, such as 1000 1000; default: pixels
//		without        <members...>           # leave these out of requests
//		for <provider>[/<model>] {            # where it is different for a target (repeatable)
//			images | max_image_edge | jpeg_quality | max_request | coordinates | without
//		}
//	}
func (b *Bytebot) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the client's name
	if d.NextArg() {
		return d.ArgErr()
	}
	switches := map[string]**bool{
		"repair_messages": &b.RepairMessages, "restore_arguments": &b.RestoreArguments, "skip_equal_images": &b.SkipEqualImages,
		"fit_window": &b.FitWindow, "scale_usage": &b.ScaleUsage, "learn_parameters": &b.LearnParameters, "require_tools": &b.RequireTools,
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "for"); err != nil {
			return err
		}
		word := d.Val()
		known, err := b.unmarshalWord(d)
		if !known {
			known, err = b.unmarshalAnswerWord(d)
		}
		switch to, isSwitch := switches[word]; {
		case known:
		case isSwitch:
			*to = new(bool)
			err = unmarshalSwitch(d, *to)
		case word == "told_window":
			err = unmarshalPositiveInt(d, &b.ToldWindow)
		case word == "for":
			err = b.unmarshalTarget(d)
		default:
			err = d.Errf("unrecognized word %s in client bytebot; there are: repair_messages, restore_arguments, skip_equal_images, fit_window, scale_usage, learn_parameters, require_tools, told_window, for, %s, %s", word, bytebotTargetWords, bytebotAnswerWords)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarshalTarget parses `for <provider>[/<model>] { ... }`.
func (b *Bytebot) unmarshalTarget(d *caddyfile.Dispenser) error {
	var name string
	if !d.AllArgs(&name) {
		return d.ArgErr()
	}
	if b.Targets[name] != nil {
		return d.Errf("for %s is already set", name)
	}
	target := new(BytebotTarget)
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d); err != nil {
			return err
		}
		word := d.Val()
		known, err := target.unmarshalWord(d)
		if err != nil {
			return err
		}
		if !known {
			return d.Errf("unrecognized word %s in for; there are: %s", word, bytebotTargetWords)
		}
	}
	if b.Targets == nil {
		b.Targets = make(map[string]*BytebotTarget)
	}
	b.Targets[name] = target
	return nil
}

const bytebotTargetWords = "images, max_image_edge, jpeg_quality, max_request, coordinates, without"

// unmarshalWord parses one of the words that may be different for targets, and reports whether it was one.
func (t *BytebotTarget) unmarshalWord(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "images":
		return true, t.unmarshalImages(d)
	case "max_image_edge":
		return true, unmarshalPositiveInt(d, &t.MaxImageEdge)
	case "jpeg_quality":
		if err = unmarshalPositiveInt(d, &t.JPEGQuality); err == nil && t.JPEGQuality > 100 {
			err = d.Err("jpeg_quality: write a number from 1 to 100")
		}
		return true, err
	case "max_request":
		return true, unmarshalSize(d, &t.MaxRequest)
	case "coordinates":
		var width, height string
		if !d.AllArgs(&width, &height) {
			return true, d.ArgErr()
		}
		w, err1 := strconv.Atoi(width)
		h, err2 := strconv.Atoi(height)
		if err1 != nil || err2 != nil || w <= 0 || h <= 0 {
			return true, d.Err("coordinates: write the width and the height of the screen as the model counts them, such as 1000 1000")
		}
		t.Coordinates = &[2]int{w, h}
		return true, nil
	case "without":
		if t.Without = d.RemainingArgs(); len(t.Without) == 0 {
			return true, d.ArgErr()
		}
		return true, nil
	}
	return false, nil
}

// unmarshalImages parses `<most> [<keep>]`, or all.
func (t *BytebotTarget) unmarshalImages(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "all" {
		t.MaxImages = -1
		return nil
	}
	if len(args) < 1 || len(args) > 2 {
		return d.ArgErr()
	}
	var err error
	if t.MaxImages, err = strconv.Atoi(args[0]); err != nil || t.MaxImages < 1 {
		return d.Errf("images: %q is not a number of images from 1 up, nor the word all", args[0])
	}
	if len(args) == 2 {
		keep, err := strconv.Atoi(args[1])
		if err != nil || keep < 1 || keep > t.MaxImages {
			return d.Errf("images: %q is not a number from 1 to %d", args[1], t.MaxImages)
		}
		t.KeepImages = &keep
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Bytebot)(nil)
