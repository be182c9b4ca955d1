package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("llm_lockout", parseLockout)
	httpcaddyfile.RegisterDirectiveOrder("llm_lockout", httpcaddyfile.Before, "basic_auth")
}

func parseLockout(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	l := new(Lockout)
	return l, l.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_lockout [<matcher>] {
//		attempts <n>           # how many different wrong passwords and keys may come from an address; default: 10
//		window   <duration>    # in which time; default: 5m
//		duration <duration>    # how long the address is kept out then; default: 15m
//	}
func (l *Lockout) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d); err != nil {
			return err
		}
		var err error
		switch word := d.Val(); word {
		case "attempts":
			err = unmarshalPositiveInt(d, &l.Attempts)
		case "window":
			err = unmarshalPositiveDuration(d, &l.Window)
		case "duration":
			err = unmarshalPositiveDuration(d, &l.Duration)
		default:
			err = d.Errf("unrecognized word %s in llm_lockout; there are: attempts, window, duration", word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Lockout)(nil)
