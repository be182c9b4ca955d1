package caddymodule

import (
	"cmp"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
)

func init() {
	caddy.RegisterModule(MemoryCache{})
	caddy.RegisterModule(RedisCache{})
}

// An answerCache is what a module in llm.caches must be: a store, and how it is to be used.
type answerCache interface {
	caddy.Module
	cache.Store
	Policy() cache.Policy
}

// caches holds the stores of all running configurations, so that a reload keeps the answers.
var caches = caddy.NewUsagePool()

// CachePolicy is what all caches have in common.
type CachePolicy struct {
	// How long an answer may be used. Default: 10m.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// The largest answer that is kept, in bytes. Default: 8 MiB.
	MaxAnswer int64 `json:"max_answer,omitempty"`

	// Whether only requests are answered from the cache that ask for the same answer each time: those with temperature 0 or
	// a seed, and embeddings. Default: all.
	OnlyDeterministic bool `json:"only_deterministic,omitempty"`
}

const (
	defaultCacheTTL  = 10 * time.Minute
	defaultMaxAnswer = 8 << 20
)

// Policy returns the policy with its defaults.
func (p *CachePolicy) Policy() cache.Policy {
	return cache.Policy{
		TTL:               cmp.Or(time.Duration(p.TTL), defaultCacheTTL),
		MaxAnswerBytes:    int(cmp.Or(p.MaxAnswer, defaultMaxAnswer)),
		OnlyDeterministic: p.OnlyDeterministic,
	}
}

// unmarshalWord parses one of the words that all caches have, and reports whether it was one.
func (p *CachePolicy) unmarshalWord(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "ttl":
		return true, unmarshalDuration(d, &p.TTL)
	case "max_answer":
		return true, unmarshalSize(d, &p.MaxAnswer)
	case "only_deterministic":
		return true, unmarshalBool(d, &p.OnlyDeterministic)
	}
	return false, nil
}

// MemoryCache keeps answers in this process. All handlers and configurations have the same store; the last one that was
// started decides how large it is.
type MemoryCache struct {
	CachePolicy

	// How much memory the answers may take, in bytes. Default: 64 MiB.
	Size int64 `json:"size,omitempty"`

	// How many answers there may be. Default: no bound but the size.
	MaxEntries int `json:"max_entries,omitempty"`

	*cache.Memory `json:"-"`

	held bool
}

const defaultCacheSize = 64 << 20

// memoryStore makes a store a caddy.Destructor.
type memoryStore struct{ *cache.Memory }

// Destruct implements caddy.Destructor.
func (m memoryStore) Destruct() error {
	m.Close()
	return nil
}

// memoryKey is the key of the one store in memory.
const memoryKey = "memory"

// CaddyModule returns the Caddy module information.
func (MemoryCache) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.caches.memory",
		New: func() caddy.Module { return new(MemoryCache) },
	}
}

// Provision implements caddy.Provisioner.
func (m *MemoryCache) Provision(caddy.Context) error {
	if m.Size < 0 || m.MaxEntries < 0 || m.MaxAnswer < 0 || m.TTL < 0 {
		return errors.New("cache memory: a size, a number or a duration is negative")
	}
	m.Size = cmp.Or(m.Size, defaultCacheSize)
	value, _, err := caches.LoadOrNew(memoryKey, func() (caddy.Destructor, error) {
		store, err := cache.NewMemory(m.Size, m.MaxEntries)
		return memoryStore{store}, err
	})
	if err != nil {
		return err
	}
	m.Memory, m.held = value.(memoryStore).Memory, true
	return nil
}

// start implements starter.
func (m *MemoryCache) start() { m.Resize(m.Size, m.MaxEntries) }

// Cleanup implements caddy.CleanerUpper. Requests that are still running may use the store after it.
func (m *MemoryCache) Cleanup() error {
	if !m.held {
		return nil
	}
	m.held = false
	_, err := caches.Delete(memoryKey)
	return err
}

// UnmarshalCaddyfile sets up the cache from Caddyfile tokens:
//
//	memory {
//		size               <size>        # of all answers together; default: 64MiB
//		max_entries        <n>           # default: no bound but the size
//		ttl                <duration>    # how long an answer may be used; default: 10m
//		max_answer         <size>        # larger answers are not kept; default: 8MiB
//		only_deterministic [true|false]  # keep only what has temperature 0 or a seed; default: false
//	}
func (m *MemoryCache) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalCache(d, &m.CachePolicy, "size, max_entries", func() (bool, error) {
		switch d.Val() {
		case "size":
			return true, unmarshalSize(d, &m.Size)
		case "max_entries":
			return true, unmarshalInt(d, &m.MaxEntries)
		}
		return false, nil
	})
}

// RedisCache keeps answers in a Redis server, which several gateways may share. While the server is slow or down, requests
// are answered without it.
type RedisCache struct {
	CachePolicy

	// The server, as redis://[user:password@]host[:port][/database], or rediss:// for TLS. Write a password as a
	// placeholder, such as `{env.REDIS_URL}` for the whole URL. Default: redis://localhost:6379.
	URL string `json:"url,omitempty"`

	*cache.Redis `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (RedisCache) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.caches.redis",
		New: func() caddy.Module { return new(RedisCache) },
	}
}

// Provision implements caddy.Provisioner. It does not connect.
func (r *RedisCache) Provision(ctx caddy.Context) error {
	url, err := caddy.NewReplacer().ReplaceOrErr(cmp.Or(r.URL, "redis://localhost:6379"), true, true)
	if err != nil {
		return errors.New("cache redis: the placeholder in the URL is empty; set the variable, or remove the cache")
	}
	logger := ctx.Logger()
	r.Redis, err = cache.NewRedis(url, func(err error) {
		logger.Warn("redis is left alone for a while; answers are not cached", zap.Error(err))
	})
	return err
}

// Cleanup implements caddy.CleanerUpper. Requests that are still running go on without the cache.
func (r *RedisCache) Cleanup() error {
	if r.Redis == nil {
		return nil
	}
	return r.Close()
}

// UnmarshalCaddyfile sets up the cache from Caddyfile tokens:
//
//	redis [<url>] {
//		url                <url>         # redis://[user:password@]host[:port][/database], rediss:// for TLS; a placeholder
//		ttl                <duration>    # as in memory, like the rest
//		max_answer         <size>
//		only_deterministic [true|false]
//	}
func (r *RedisCache) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalCache(d, &r.CachePolicy, "url", func() (bool, error) {
		switch {
		case d.Val() != "url":
			return false, nil
		case r.URL != "":
			return true, d.Err("url is already set")
		}
		return true, unmarshalString(d, &r.URL)
	}, &r.URL)
}

// unmarshalCache parses a cache's arguments and block; own parses the words that only it has.
func unmarshalCache(d *caddyfile.Dispenser, p *CachePolicy, words string, own func() (known bool, err error), args ...*string) error {
	d.Next() // consume the cache's name
	name := d.Val()
	for _, arg := range args {
		d.Args(arg)
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d); err != nil {
			return err
		}
		word := d.Val()
		known, err := own()
		if !known && err == nil {
			known, err = p.unmarshalWord(d)
		}
		if err != nil {
			return err
		}
		if !known {
			return d.Errf("unrecognized word %s in cache %s; there are: %s, ttl, max_answer, only_deterministic", word, name, words)
		}
	}
	return nil
}

// Interface guards
var (
	_ answerCache           = (*MemoryCache)(nil)
	_ answerCache           = (*RedisCache)(nil)
	_ starter               = (*MemoryCache)(nil)
	_ caddy.Provisioner     = (*MemoryCache)(nil)
	_ caddy.Provisioner     = (*RedisCache)(nil)
	_ caddy.CleanerUpper    = (*MemoryCache)(nil)
	_ caddy.CleanerUpper    = (*RedisCache)(nil)
	_ caddyfile.Unmarshaler = (*MemoryCache)(nil)
	_ caddyfile.Unmarshaler = (*RedisCache)(nil)
)
