package caddymodule

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// seenWords are the words that a block has had so far.
type seenWords map[string]bool

// add notes the word that the dispenser stands at. Unless it is one of the repeatable ones, it must be new.
func (s seenWords) add(d *caddyfile.Dispenser, repeatable ...string) error {
	word := d.Val()
	if s[word] && !slices.Contains(repeatable, word) {
		return d.Errf("%s is already set", word)
	}
	s[word] = true
	return nil
}

// The functions below parse the arguments of the word that the dispenser stands at.

func unmarshalString(d *caddyfile.Dispenser, to *string) error {
	if !d.AllArgs(to) {
		return d.ArgErr()
	}
	return nil
}

func unmarshalDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	word := d.Val()
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	value, err := caddy.ParseDuration(arg)
	if err != nil {
		return d.Errf("%s: %q is not a duration such as 90s: %v", word, arg, err)
	}
	if value < 0 {
		return d.Errf("%s: the duration %s is negative", word, arg)
	}
	*to = caddy.Duration(value)
	return nil
}

// unmarshalInterval parses a duration above 0, or a special word, which is -1.
func unmarshalInterval(d *caddyfile.Dispenser, to *caddy.Duration, special string) error {
	word := d.Val()
	if d.CountRemainingArgs() == 1 && d.NextArg() {
		if d.Val() == special {
			*to = -1
			return nil
		}
		d.Prev()
	}
	err := unmarshalDuration(d, to)
	if err == nil && *to == 0 {
		return d.Errf("%s: write a duration above 0, or %s", word, special)
	}
	return err
}

func unmarshalInt(d *caddyfile.Dispenser, to *int) error {
	word := d.Val()
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	value, err := strconv.Atoi(arg)
	if err != nil || value < 0 {
		return d.Errf("%s: %q is not a number from 0 up", word, arg)
	}
	*to = value
	return nil
}

// unmarshalPositiveDuration parses a duration above 0.
func unmarshalPositiveDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	word := d.Val()
	err := unmarshalDuration(d, to)
	if err == nil && *to == 0 {
		return d.Errf("%s: write a duration above 0, or leave the word out", word)
	}
	return err
}

// unmarshalPositiveInt parses a number above 0.
func unmarshalPositiveInt(d *caddyfile.Dispenser, to *int) error {
	word := d.Val()
	err := unmarshalInt(d, to)
	if err == nil && *to == 0 {
		return d.Errf("%s: write a number above 0, or leave the word out", word)
	}
	return err
}

func unmarshalFloat(d *caddyfile.Dispenser, to *float64) error {
	word := d.Val()
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	value, err := strconv.ParseFloat(arg, 64)
	if err != nil || !(value >= 0) || math.IsInf(value, 0) {
		return d.Errf("%s: %q is not a number from 0 up", word, arg)
	}
	*to = value
	return nil
}

// unmarshalCapabilities parses `<what...>`, or none.
func unmarshalCapabilities(d *caddyfile.Dispenser, to *[]string) error {
	words := d.RemainingArgs()
	if len(words) == 0 {
		return d.ArgErr()
	}
	if len(words) == 1 && words[0] == "none" {
		words = []string{}
	}
	if _, err := llmgateway.ParseCapabilities(words); err != nil {
		return d.Errf("capabilities: %v; or only the word none", err)
	}
	*to = words
	return nil
}

// unmarshalPrice parses `<in> <out> [<cached>]`.
func unmarshalPrice(d *caddyfile.Dispenser, to **Price) error {
	args := d.RemainingArgs()
	if len(args) < 2 || len(args) > 3 {
		return d.ArgErr()
	}
	prices := make([]float64, len(args))
	for i, arg := range args {
		value, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(value >= 0) || math.IsInf(value, 0) {
			return d.Errf("price: %q is not a number of US dollars for a million tokens", arg)
		}
		prices[i] = value
	}
	*to = &Price{Prompt: prices[0], Completion: prices[1]}
	if len(prices) == 3 {
		(*to).Cached = &prices[2]
	}
	return nil
}

// unmarshalBool parses a word that is true by its presence; an explicit true or false may follow.
func unmarshalBool(d *caddyfile.Dispenser, to *bool) error {
	word := d.Val()
	args := d.RemainingArgs()
	switch {
	case len(args) == 0, len(args) == 1 && args[0] == "true":
		*to = true
	case len(args) == 1 && args[0] == "false":
		*to = false
	default:
		return d.Errf("%s: write true, false or nothing behind it", word)
	}
	return nil
}

// unmarshalSwitch parses on or off.
func unmarshalSwitch(d *caddyfile.Dispenser, to *bool) error {
	word := d.Val()
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	if arg != "on" && arg != "off" {
		return d.Errf("%s: write on or off behind it", word)
	}
	*to = arg == "on"
	return nil
}

// unmarshalPercent parses a percentage above 0, with or without its sign.
func unmarshalPercent(d *caddyfile.Dispenser, to *float64) error {
	word := d.Val()
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	value, err := strconv.ParseFloat(strings.TrimSuffix(arg, "%"), 64)
	if err != nil || !(value > 0 && value <= 100) {
		return d.Errf("%s: %q is not a percentage above 0, such as 10%%", word, arg)
	}
	*to = value
	return nil
}

func unmarshalSize(d *caddyfile.Dispenser, to *int64) error {
	word := d.Val()
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	size, err := humanize.ParseBytes(arg)
	if err != nil || size > math.MaxInt64 {
		return d.Errf("%s: %q is not a size such as 512MiB", word, arg)
	}
	*to = int64(size)
	return nil
}

// unmarshalGuest parses the module that the next argument names.
func unmarshalGuest(d *caddyfile.Dispenser, namespace, inlineKey string) (json.RawMessage, error) {
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	name := d.Val()
	if _, err := caddy.GetModule(namespace + "." + name); err != nil {
		var known []string
		for _, module := range caddy.GetModules(namespace) {
			known = append(known, module.ID.Name())
		}
		return nil, d.Errf("there is no module %s.%s; there are: %s", namespace, name, strings.Join(known, ", "))
	}
	guest, err := caddyfile.UnmarshalModule(d, namespace+"."+name)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(guest, inlineKey, name, nil), nil
}

// unmarshalNothing parses a module that takes neither arguments nor a block.
func unmarshalNothing(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	name := d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("%s takes no block", name)
	}
	return nil
}
