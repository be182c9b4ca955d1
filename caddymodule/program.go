package caddymodule

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func init() {
	caddy.RegisterModule(Command{})
}

// Command runs any program that speaks OpenAI's API, such as vLLM, as a process that the gateway supervises. Providers with
// equal settings share one process, across sites and reloads.
type Command struct {
	// The program and its arguments. One of them must say where the program shall listen: `{socket}` stands for the path of
	// a unix socket that only the gateway's user can reach, `{port}` for a TCP port of 127.0.0.1, which other users of the
	// machine can reach as well. `{model}` stands for `model`. Other placeholders are resolved when the configuration is
	// loaded; do not pass secrets here, since arguments are public on most systems.
	Command []string `json:"command,omitempty"`

	// Variables of its environment, which otherwise holds only what finds libraries and devices. Placeholders are resolved.
	Env map[string]string `json:"env,omitempty"`

	// What the program calls its model. Default: as for a remote provider, what the target names, or else the client.
	Model string `json:"model,omitempty"`

	// The page that answers 200 once the model is loaded. Default: /health, or /v1/models if there is no such page.
	HealthPath string `json:"health_path,omitempty"`

	// The memory that it takes, in bytes, for `max_memory`. Default: none is counted.
	Memory int64 `json:"memory,omitempty"`

	// How many generations run at once. Default: 1.
	NParallel int `json:"n_parallel,omitempty"`

	// How many requests may wait for their turn. One more goes to the next target. Default: 64.
	MaxQueue *int `json:"max_queue,omitempty"`

	// How long a request may have to wait for its first token. One that is expected to wait longer, by what was measured so
	// far, goes to the next target at once. Default: no bound.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`

	// Whether it is started when Caddy starts. Default: at the first request.
	Preload bool `json:"preload,omitempty"`

	// How long it runs without requests. Of providers that share a process the longest counts. Default: for ever.
	KeepAlive caddy.Duration `json:"keep_alive,omitempty"`

	engine heldEngine
}

// CaddyModule returns the Caddy module information.
func (Command) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.providers.command",
		New: func() caddy.Module { return new(Command) },
	}
}

// Provision implements caddy.Provisioner. It takes hold of the engine and starts nothing.
func (c *Command) Provision(ctx caddy.Context) error {
	if len(c.Command) == 0 || c.Command[0] == "" {
		return errors.New("command: a program is needed")
	}
	config := c.config()
	if err := config.Validate(); err != nil {
		return err
	}
	maxQueue := defaultMaxQueue
	if c.MaxQueue != nil {
		maxQueue = *c.MaxQueue
	}
	return c.engine.hold(config, maxQueue, time.Duration(c.MaxWait))
}

// config translates the settings.
func (c *Command) config() local.Config {
	repl := caddy.NewReplacer()
	var command, env []string
	for _, arg := range c.Command {
		// What is unknown here is for the engine.
		command = append(command, repl.ReplaceKnown(arg, ""))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, name+"="+repl.ReplaceAll(c.Env[name], ""))
	}
	return local.Config{NParallel: c.NParallel, Command: local.Command{
		Program: command[0], Args: local.JoinArgs(command[1:]),
		Env: local.JoinArgs(env), Model: repl.ReplaceAll(c.Model, ""), HealthPath: c.HealthPath, MemoryBytes: uint64(max(c.Memory, 0)),
	}}
}

// Cleanup implements caddy.CleanerUpper.
func (c *Command) Cleanup() error { return c.engine.release() }

// start implements starter.
func (c *Command) start() { c.engine.begin(time.Duration(c.KeepAlive), c.Preload) }

// Generate implements llmgateway.Provider.
func (c *Command) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return c.engine.generate(ctx, req)
}

// Identity implements llmgateway.Identifier.
func (c *Command) Identity() string { return c.engine.provider.Identity() }

// Status implements llmgateway.Reporter.
func (c *Command) Status() llmgateway.Status { return c.engine.provider.Status() }

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens:
//
//	command <program> <args...> {    # {socket} or {port} stands for where to listen, {model} for model
//		model       <name>           # what the program calls its model; default: what the target says
//		env         <name> <value>   # a variable of its environment (repeatable)
//		health_path <path>           # answers 200 once the model is loaded; default: /health, else /v1/models
//		memory      <size>           # counts for max_memory; default: nothing
//		n_parallel  <n>              # generations at once; default: 1
//		max_queue   <n>              # as for llamacpp
//		max_wait    <duration>
//		preload     [true|false]
//		keep_alive  <duration>
//	}
func (c *Command) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the provider's type
	for _, arg := range d.RemainingArgs() {
		// Caddyfiles have {port} as a short form, of what makes no sense here.
		c.Command = append(c.Command, strings.ReplaceAll(arg, "{http.request.port}", "{port}"))
	}
	if len(c.Command) == 0 {
		return d.Errf("provider command takes a program: command <program> <args...>")
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "env"); err != nil {
			return err
		}
		if err := c.unmarshalWord(d); err != nil {
			return err
		}
	}
	return nil
}

// unmarshalWord parses one line of the block.
func (c *Command) unmarshalWord(d *caddyfile.Dispenser) error {
	switch word := d.Val(); word {
	case "model":
		return unmarshalString(d, &c.Model)
	case "env":
		var name, value string
		if !d.AllArgs(&name, &value) {
			return d.ArgErr()
		}
		if _, ok := c.Env[name]; ok {
			return d.Errf("env %s is already set", name)
		}
		if c.Env == nil {
			c.Env = make(map[string]string)
		}
		c.Env[name] = value
		return nil
	case "health_path":
		return unmarshalString(d, &c.HealthPath)
	case "memory":
		return unmarshalSize(d, &c.Memory)
	case "n_parallel":
		return unmarshalInt(d, &c.NParallel)
	case "max_queue":
		c.MaxQueue = new(int)
		return unmarshalInt(d, c.MaxQueue)
	case "max_wait":
		return unmarshalDuration(d, &c.MaxWait)
	case "preload":
		return unmarshalBool(d, &c.Preload)
	case "keep_alive":
		return unmarshalDuration(d, &c.KeepAlive)
	default:
		return d.Errf("unrecognized word %s in provider command; there are: model, env, health_path, memory, n_parallel, max_queue, max_wait, preload, keep_alive", word)
	}
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Command)(nil)
	_ caddy.CleanerUpper    = (*Command)(nil)
	_ caddyfile.Unmarshaler = (*Command)(nil)
	_ llmgateway.Provider   = (*Command)(nil)
	_ llmgateway.Reporter   = (*Command)(nil)
	_ starter               = (*Command)(nil)
)
