package caddymodule

import (
	"math"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("llm_limit", parseLimit)
	// Behind whatever finds out who asks, and before whatever answers.
	httpcaddyfile.RegisterDirectiveOrder("llm_limit", httpcaddyfile.After, "forward_auth")
}

func parseLimit(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	l := new(Limit)
	return l, l.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_limit [<matcher>] {
//		key      <placeholders>              # whose use is counted, such as {http.auth.user.id}; where it is empty, nobody gets in
//		tokens   <n>[k|m] per <duration>     # of prompts and answers (repeatable)
//		spend    <amount> USD per <duration> # by the targets' prices, or as providers say (repeatable)
//		parallel <n>                         # requests at once
//		name     <name>                      # limits of one name count together; default: the key as it is written
//		redis    <url>                       # where several gateways count together; default: each for itself
//	}
func (l *Limit) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "tokens", "spend"); err != nil {
			return err
		}
		var err error
		switch word := d.Val(); word {
		case "key":
			err = unmarshalString(d, &l.Key)
		case "tokens":
			err = l.unmarshalTokens(d)
		case "spend":
			err = l.unmarshalSpend(d)
		case "parallel":
			if err = unmarshalInt(d, &l.Parallel); err == nil && l.Parallel == 0 {
				err = d.Err("parallel: 0 lets no request through; leave the word out for no bound")
			}
		case "name":
			err = unmarshalString(d, &l.Name)
		case "redis":
			err = unmarshalString(d, &l.Redis)
		default:
			err = d.Errf("unrecognized word %s in llm_limit; there are: key, tokens, spend, parallel, name, redis", word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarshalTokens parses `<n>[k|m] per <duration>`.
func (l *Limit) unmarshalTokens(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 3 || args[1] != "per" {
		return d.Err("tokens: write how many and for which time, such as `tokens 200k per 1h`")
	}
	number, factor := args[0], 1.0
	for suffix, times := range map[string]float64{"k": 1e3, "m": 1e6} {
		if digits, ok := strings.CutSuffix(strings.ToLower(number), suffix); ok {
			number, factor = digits, times
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if n = math.Round(n * factor); err != nil || !(n >= 1) || n > maxTokens {
		return d.Errf("tokens: %q is not a number of tokens such as 200k", args[0])
	}
	per, err := parsePeriod(d, args[2])
	l.Tokens = append(l.Tokens, TokenLimit{Max: int64(n), Per: per})
	return err
}

// unmarshalSpend parses `<amount> USD per <duration>`.
func (l *Limit) unmarshalSpend(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 4 || !strings.EqualFold(args[1], "USD") || args[2] != "per" {
		return d.Err("spend: write how much and for which time, such as `spend 5 USD per 1d`")
	}
	amount, err := strconv.ParseFloat(args[0], 64)
	if err != nil || !(amount > 0) || amount > maxSpend {
		return d.Errf("spend: %q is not an amount of US dollars such as 2.50", args[0])
	}
	per, err := parsePeriod(d, args[3])
	l.Spend = append(l.Spend, SpendLimit{Max: amount, Per: per})
	return err
}

func parsePeriod(d *caddyfile.Dispenser, arg string) (caddy.Duration, error) {
	per, err := caddy.ParseDuration(arg)
	if err != nil {
		return 0, d.Errf("%q is not a duration such as 1h or 30d: %v", arg, err)
	}
	return caddy.Duration(per), nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Limit)(nil)
