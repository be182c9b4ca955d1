package caddymodule

import (
	"encoding/json"
	"strings"

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
//		provider <name> llamacpp <file.gguf>|<folder>/ {
//			...
//		}
//		provider <name> command <program> <args...> {
//			...
//		}
//		provider <name> openai [<base_url>] {
//			base_url  <url>            # default: https://api.openai.com/v1, which needs a key
//			api_key   <placeholder>    # such as {env.OPENAI_API_KEY}; if it is empty the provider is switched off
//			header    <field> <value>  # a further header (repeatable)
//			endpoints <endpoint...>    # APIs it speaks besides chat: messages, responses. default: chat alone; docs/apis.md
//			transport <name> {         # as in reverse_proxy; default: HTTP that bounds connecting only
//				...
//			}
//		}
//		provider <name> huggingface {
//			# as openai; base_url is https://router.huggingface.co/v1
//		}
//		provider <name> openrouter {
//			# as openai; base_url is https://openrouter.ai/api/v1, and endpoints are messages and responses
//		}
//		provider <name> echo
//
//		# what clients may ask for (repeatable); names and aliases may end in *
//		model <name> [<aliases...>] {
//			to <provider>[/<upstream_model>]...    # in order of preference (repeatable)
//			to <provider>[/<upstream_model>] {
//				context             <tokens>       # what it takes, prompt and answer; a longer prompt goes to the next target
//				capabilities        <what...>      # all of vision, audio, tools, json, embeddings, reasoning, prefill that it has, or none
//				when                [not] <condition>    # only for requests of which it holds; of several lines all must (repeatable)
//				when                [not] images|audio|tools|json        # the request needs it
//				when                [not] tokens above|below <n>         # of the prompt, as estimated
//				when                [not] header <field> [<values...>]   # with one of the values; none: with any
//				price               <in> <out> [<cached>]    # US dollars for a million tokens
//				first_token_timeout <duration>
//				stream_idle_timeout <duration>
//				timeout             <duration>     # of one try
//			}
//			mirror <provider>[/<upstream_model>] <percent> {    # a model under test: gets copies of so many requests; the answers are dropped
//				timeout      <duration>        # of a copy; default: 2m
//				max_requests <n>               # copies at once; more are dropped; default: 4
//			}
//			auto_pick on|off                   # off: a request must name its provider; default: on
//			lb_policy | lb_retries | ... | health_timeout    # where they differ from those below
//		}
//
//		# choosing a target, and trying the next
//		lb_policy       <name> [<options...>]    # default: first
//		lb_policy       first                    # in the order written
//		lb_policy       random
//		lb_policy       round_robin
//		lb_policy       weighted_round_robin <weights...>    # one for each target of the model
//		lb_policy       least_conn               # who has the fewest requests
//		lb_policy       least_latency            # whose first token came soonest of late
//		lb_retries      <n>            # tries after the first; default: one for each further target
//		lb_try_duration <duration>     # no new try starts after it; default: no bound
//		lb_try_interval <duration>     # longest pause before a target is asked again, doubled each time; default: 250ms
//
//		# asking two at the same time; default: never
//		hedge_after     <duration>|p95 # the first has not begun by then, or for longer than is usual: ask the second too
//		hedge_budget    <percent>      # of requests for which that may be done; default: 10
//
//		# when a target counts as down, and is asked last; default: never
//		fail_duration           <duration>    # how long it rests after a failure, unless the provider says how long
//		max_fails               <n>           # failures in a row that take it down; default: 1
//		max_fail_rate           <percent> [<requests>]    # of at least so many in the last minute, 10 by default
//		unhealthy_status        <status...>   # what is a failure; default: 401 402 408 429 5xx
//		unhealthy_latency       <duration>    # a later first token of a stream is a failure
//		unhealthy_request_count <n>           # requests that it may have at once; needs no fail_duration
//		health_interval         <duration>    # how often remote providers are asked for their list of models
//		health_timeout          <duration>    # default: 5s
//
//		# deadlines of one generation; default: none
//		first_token_timeout <duration> # of each try
//		stream_idle_timeout <duration> # between two events
//		timeout             <duration> # over all tries
//
//		# answering equal requests with one answer; default: none
//		cache memory|redis {
//			...
//		}
//
//		# making one kind of client work with any model; default: none
//		client bytebot {
//			...
//		}
//
//		resume        on|off           # let the next target finish a stream that breaks; default: off
//		ping_interval <duration>|off   # comments to clients that wait for a stream's first event; default: 15s, the first after 5s
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "provider", "model"); err != nil {
			return err
		}
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
		case "cache":
			h.CacheRaw, err = unmarshalGuest(d, "llm.caches", "type")
		case "client":
			h.ClientRaw, err = unmarshalGuest(d, "llm.clients", "type")
		case "resume":
			err = unmarshalSwitch(d, &h.Resume)
		case "ping_interval":
			err = unmarshalInterval(d, &h.PingInterval, "off")
		default:
			var known bool
			if known, err = unmarshalRouting(d, &h.LoadBalancing, &h.HealthChecks); !known {
				return d.Errf("unrecognized word %s in llm; there are: provider, model, %s, first_token_timeout, stream_idle_timeout, timeout, cache, client, resume, ping_interval", word, routingWords)
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
	raw, err := unmarshalGuest(d, "llm.providers", "type")
	if err != nil {
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
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "to"); err != nil {
			return err
		}
		var err error
		switch word := d.Val(); word {
		case "to":
			err = model.unmarshalTargets(d)
		case "mirror":
			err = unmarshalMirror(d, &model.Mirror)
		case "auto_pick":
			model.AutoPick = new(bool)
			err = unmarshalSwitch(d, model.AutoPick)
		default:
			var known bool
			if known, err = unmarshalRouting(d, &model.LoadBalancing, &model.HealthChecks); !known {
				return d.Errf("unrecognized word %s in a model; there are: to, mirror, auto_pick, %s", word, routingWords)
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
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "when"); err != nil {
			return err
		}
		var err error
		switch word := d.Val(); word {
		case "context":
			err = unmarshalInt(d, &options.Context)
		case "capabilities":
			err = unmarshalCapabilities(d, &options.Capabilities)
		case "when":
			err = unmarshalWhen(d, &options.When)
		case "price":
			err = unmarshalPrice(d, &options.Price)
		case "first_token_timeout":
			err = unmarshalDuration(d, &options.FirstTokenTimeout)
		case "stream_idle_timeout":
			err = unmarshalDuration(d, &options.StreamIdleTimeout)
		case "timeout":
			err = unmarshalDuration(d, &options.Timeout)
		default:
			return d.Errf("unrecognized word %s in a target; there are: context, capabilities, when, price, first_token_timeout, stream_idle_timeout, timeout", word)
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

// unmarshalLoadBalancing parses one of the lb_ or hedge_ words into what lb points to, and reports whether it was one.
func unmarshalLoadBalancing(d *caddyfile.Dispenser, lb **LoadBalancing) (known bool, err error) {
	l := *lb
	if l == nil {
		l = new(LoadBalancing)
	}
	switch d.Val() {
	case "lb_policy":
		l.SelectionPolicyRaw, err = unmarshalGuest(d, "llm.selection_policies", "policy")
	case "lb_retries":
		l.Retries = new(int)
		err = unmarshalInt(d, l.Retries)
	case "lb_try_duration":
		err = unmarshalDuration(d, &l.TryDuration)
	case "lb_try_interval":
		err = unmarshalDuration(d, &l.TryInterval)
	case "hedge_after":
		err = unmarshalInterval(d, &l.HedgeAfter, "p95")
	case "hedge_budget":
		err = unmarshalPercent(d, &l.HedgeBudget)
	default:
		return false, nil
	}
	*lb = l
	return true, err
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
