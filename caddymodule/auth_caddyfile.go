package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("llm_auth", parseAuth)
	httpcaddyfile.RegisterDirectiveOrder("llm_auth", httpcaddyfile.After, "basic_auth")
}

func parseAuth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	a := new(Auth)
	return a, a.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_auth [<matcher>] {
//		key <client> <placeholders...>    # whose keys {env.<variable>} and {file.<path>} are (repeatable)
//		key <client> <placeholders...> {
//			expires <time>                # such as 2027-03-31, the end of that day in UTC; default: never
//			models  <names...>            # what they are for; names may end in *; default: all
//		}
//		keys_from [<folder>]              # with a file for each client, and a key on each line; default: none
//	}
func (a *Auth) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()         // consume the directive's name
	if d.NextArg() { // which may be a key, and is not quoted
		return d.Err("llm_auth takes a matcher and a block, and nothing else on its line")
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "key"); err != nil {
			return err
		}
		var err error
		switch word := d.Val(); word {
		case "key":
			err = a.unmarshalKey(d)
		case "keys_from":
			// A variable that is not set leaves nothing.
			if d.CountRemainingArgs() > 0 {
				err = unmarshalString(d, &a.KeysFrom)
			}
		default:
			err = d.Errf("unrecognized word %s in llm_auth; there are: key, keys_from", word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarshalKey parses a client's keys. Errors do not quote them: they may have been written where placeholders belong.
func (a *Auth) unmarshalKey(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Err("key: write whose it is and where it is found, such as `key ann {env.LLM_KEY_ANN}`")
	}
	key := &AuthKey{Client: args[0], Secrets: args[1:]}
	a.Keys = append(a.Keys, key)
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d); err != nil {
			return err
		}
		var err error
		switch word := d.Val(); word {
		case "expires":
			err = unmarshalString(d, &key.Expires)
		case "models":
			if key.Models = d.RemainingArgs(); len(key.Models) == 0 {
				err = d.ArgErr()
			}
		default:
			err = d.Errf("unrecognized word %s in key; there are: expires, models", word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Auth)(nil)
