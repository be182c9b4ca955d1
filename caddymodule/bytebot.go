package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/bytebot"
)

func init() {
	caddy.RegisterModule(Bytebot{})
}

// Bytebot makes [Bytebot](https://github.com/bytebot-ai/bytebot) work with any model: it mends the conversations that the agent
// sends. Well-formed ones pass as they are.
type Bytebot struct {
	// Whether conversations are brought into the order that models and providers expect. Default: true.
	RepairMessages *bool `json:"repair_messages,omitempty"`

	BytebotAnswers

	*bytebot.Adapter `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (Bytebot) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.clients.bytebot",
		New: func() caddy.Module { return new(Bytebot) },
	}
}

// Provision implements caddy.Provisioner.
func (b *Bytebot) Provision(caddy.Context) error {
	c := bytebot.Config{
		KeepMessages: !on(b.RepairMessages),
	}
	b.configure(&c)
	b.Adapter = bytebot.New(c)
	return nil
}

// on returns what a switch says that is on unless it is switched off.
func on(set *bool) bool { return set == nil || *set }

// UnmarshalCaddyfile sets up the client from Caddyfile tokens:
//
//	bytebot {
//		repair_messages on|off    # bring conversations into the order that models expect; default: on
//
//		repair_calls on|off            # make calls of what models wrote as text, and fit calls to their tools; default: on
//		needs_help   on|off            # ask the user for help where a request failed for good; default: on
//		loop_guard   <n> [<m>]|off     # after doing the same n times tell the model, after m times ask the user; default: 3 6
//		padding      <time> [<interval>]|off   # white space to an agent that waits for its answer; default: 20s 15s
//	}
func (b *Bytebot) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the client's name
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
		case "repair_messages":
			b.RepairMessages = new(bool)
			err = unmarshalSwitch(d, b.RepairMessages)
		default:
			var known bool
			if known, err = b.unmarshalWord(d); !known {
				err = d.Errf("unrecognized word %s in client bytebot; there are: repair_messages, %s", word, bytebotAnswerWords)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ llmgateway.Adapter    = (*Bytebot)(nil)
	_ caddy.Provisioner     = (*Bytebot)(nil)
	_ caddyfile.Unmarshaler = (*Bytebot)(nil)
)
