package caddymodule

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

//go:generate go test -run TestReadmeQuotesTheCaddyfileSyntax -update

func init() {
	httpcaddyfile.RegisterHandlerDirective("llm", parseHandler)
	// A catch-all reverse_proxy in the same site must not win.
	httpcaddyfile.RegisterDirectiveOrder("llm", httpcaddyfile.Before, "reverse_proxy")
}

func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm [<matcher>] {
//		# where answers come from (repeatable)
//		provider <name> llamacpp <file.gguf> {
//			...
//		}
//		provider <name> openai [<base_url>] {
//			base_url  <url>            # default: https://api.openai.com/v1, which needs a key
//			api_key   <placeholder>    # such as {env.OPENAI_API_KEY}; if it is empty the provider is switched off
//			header    <field> <value>  # a further header (repeatable)
//			transport <name> {         # as in reverse_proxy; default: HTTP that bounds connecting only
//				...
//			}
//		}
//		provider <name> huggingface {
//			# as openai; base_url is https://router.huggingface.co/v1
//		}
//		provider <name> openrouter {
//			# as openai; base_url is https://openrouter.ai/api/v1
//		}
//		provider <name> echo
//
//		# what clients may ask for (repeatable); names and aliases may end in *
//		model <name> [<aliases...>] {
//			to <provider>[/<upstream_model>]...    # in order of preference (repeatable)
//			to <provider>[/<upstream_model>] {
//				first_token_timeout <duration>
//				timeout             <duration>     # of one try
//			}
//			lb_policy | lb_retries | lb_try_duration | lb_try_interval    # where they differ from those below
//		}
//
//		# choosing a target, and trying the next
//		lb_policy       <name>         # first (default): in the order written
//		lb_retries      <n>            # tries after the first; default: one for each further target
//		lb_try_duration <duration>     # no new try starts after it; default: no bound
//		lb_try_interval <duration>     # pause before a target is asked again; default: 250ms
//
//		# deadlines of one generation; default: none
//		first_token_timeout <duration> # of each try
//		stream_idle_timeout <duration> # between two events
//		timeout             <duration> # over all tries
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch word := d.Val(); word {
		case "provider":
			err = h.unmarshalProvider(d)
		case "model":
			err = h.unmarshalModel(d)
		case "first_token_timeout":
			err = unmarshalDuration(d, &h.FirstTokenTimeout)
		case "stream_idle_timeout":
			err = unmarshalDuration(d, &h.StreamIdleTimeout)
		case "timeout":
			err = unmarshalDuration(d, &h.Timeout)
		default:
			var known bool
			if known, err = unmarshalLoadBalancing(d, &h.LoadBalancing); !known {
				return d.Errf("unrecognized word %s in llm; there are: provider, model, lb_policy, lb_retries, lb_try_duration, lb_try_interval, first_token_timeout, stream_idle_timeout, timeout", word)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarshalProvider parses `provider <name> <type> ...`.
func (h *Handler) unmarshalProvider(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	if strings.Contains(name, "/") {
		return d.Errf("provider %s: the name must not contain a slash: `to %s` would mean a model", name, name)
	}
	if _, ok := h.ProvidersRaw[name]; ok {
		return d.Errf("provider %s already defined", name)
	}
	var raw json.RawMessage
	if err := unmarshalGuest(d, "llm.providers", "type", &raw); err != nil {
		return err
	}
	if h.ProvidersRaw == nil {
		h.ProvidersRaw = make(map[string]json.RawMessage)
	}
	h.ProvidersRaw[name] = raw
	return nil
}

// unmarshalModel parses `model <name> [<aliases...>] { ... }`.
func (h *Handler) unmarshalModel(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	if _, ok := h.Models[name]; ok {
		return d.Errf("model %s already defined", name)
	}
	model := &Model{Aliases: d.RemainingArgs()}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch word := d.Val(); word {
		case "to":
			err = model.unmarshalTargets(d)
		default:
			var known bool
			if known, err = unmarshalLoadBalancing(d, &model.LoadBalancing); !known {
				return d.Errf("unrecognized word %s in a model; there are: to, lb_policy, lb_retries, lb_try_duration, lb_try_interval", word)
			}
		}
		if err != nil {
			return err
		}
	}
	if h.Models == nil {
		h.Models = make(map[string]*Model)
	}
	h.Models[name] = model
	return nil
}

// unmarshalTargets parses `to <provider>[/<upstream_model>]...`. A block belongs to all targets of its line.
func (m *Model) unmarshalTargets(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	var options Target
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch word := d.Val(); word {
		case "first_token_timeout":
			err = unmarshalDuration(d, &options.FirstTokenTimeout)
		case "timeout":
			err = unmarshalDuration(d, &options.Timeout)
		default:
			return d.Errf("unrecognized word %s in a target; there are: first_token_timeout, timeout", word)
		}
		if err != nil {
			return err
		}
	}
	for _, arg := range args {
		target := options
		target.Provider, target.Model, _ = strings.Cut(arg, "/")
		m.Targets = append(m.Targets, &target)
	}
	return nil
}

// unmarshalLoadBalancing parses one of the lb_ words into what lb points to, and reports whether it was one.
func unmarshalLoadBalancing(d *caddyfile.Dispenser, lb **LoadBalancing) (known bool, err error) {
	l := *lb
	if l == nil {
		l = new(LoadBalancing)
	}
	switch d.Val() {
	case "lb_policy":
		err = unmarshalPolicy(d, l)
	case "lb_retries":
		n := 0
		l.Retries = &n
		err = unmarshalInt(d, l.Retries)
	case "lb_try_duration":
		err = unmarshalDuration(d, &l.TryDuration)
	case "lb_try_interval":
		err = unmarshalDuration(d, &l.TryInterval)
	default:
		return false, nil
	}
	*lb = l
	return true, err
}

// unmarshalPolicy parses `lb_policy <name> [<options...>]`.
func unmarshalPolicy(d *caddyfile.Dispenser, l *LoadBalancing) error {
	return unmarshalGuest(d, "llm.selection_policies", "policy", &l.SelectionPolicyRaw)
}

// The helpers below parse the arguments of the word that the dispenser stands at.

func unmarshalString(d *caddyfile.Dispenser, to *string) error {
	if *to != "" {
		return d.Errf("%s is already set", d.Val())
	}
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
	if *to != 0 {
		return d.Errf("%s is already set", word)
	}
	value, err := caddy.ParseDuration(arg)
	if err != nil {
		return d.Errf("bad duration value %s: %v", arg, err)
	}
	if value < 0 {
		return d.Errf("%s: the duration %s is negative", word, arg)
	}
	*to = caddy.Duration(value)
	return nil
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

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
