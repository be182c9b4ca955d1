package cache

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a Store that several gateways can share. While the server is slow or down it holds nothing: a request waits for
// it getWithin at most, and after a failure nobody asks it for a while.
type Redis struct {
	client *redis.Client
	failed func(error)
	retry  atomic.Int64 // when it may be asked again, in Unix nanoseconds
}

const (
	getWithin = 250 * time.Millisecond
	putWithin = 2 * time.Second
	// redisRest is how long a server that failed is left alone.
	redisRest = 5 * time.Second
	// redisPrefix begins every key, so that other users of the server know whose it is.
	redisPrefix = "llmgateway:answer:"
)

// NewRedis returns a Store for a server, whose URL is redis://[user:password@]host[:port][/database], or rediss:// for TLS.
// Nothing is connected yet. failed is told, once for each rest, why the server is not asked.
func NewRedis(url string, failed func(error)) (*Redis, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the Redis URL is not of the form redis://user:password@host:port/database") // the cause quotes it
	}
	options.DialTimeout = getWithin
	options.ReadTimeout, options.WriteTimeout = putWithin, putWithin
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1
	options.DisableIdentity = true
	return &Redis{client: redis.NewClient(options), failed: failed}, nil
}

// Get implements Store.
func (r *Redis) Get(ctx context.Context, key Key) ([]byte, bool) {
	if r.resting() {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, getWithin)
	defer cancel()
	answer, err := r.client.Get(ctx, name(key)).Bytes()
	if err != nil {
		r.note(ctx, "reading", err)
		return nil, false
	}
	return answer, true
}

// Put implements Store.
func (r *Redis) Put(ctx context.Context, key Key, answer []byte, ttl time.Duration) {
	if r.resting() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, putWithin)
	defer cancel()
	if err := r.client.Set(ctx, name(key), answer, ttl).Err(); err != nil {
		r.note(ctx, "writing", err)
	}
}

// Close closes all connections.
func (r *Redis) Close() error { return r.client.Close() }

func name(key Key) string { return redisPrefix + hex.EncodeToString(key[:]) }

func (r *Redis) resting() bool { return time.Now().UnixNano() < r.retry.Load() }

// note takes in a failure. That a key is not there is none, and neither is that the client left.
func (r *Redis) note(ctx context.Context, doing string, err error) {
	if errors.Is(err, redis.Nil) || errors.Is(context.Cause(ctx), context.Canceled) || errors.Is(err, redis.ErrClosed) {
		return
	}
	now := time.Now()
	before := r.retry.Load()
	if before <= now.UnixNano() && r.retry.CompareAndSwap(before, now.Add(redisRest).UnixNano()) {
		r.failed(fmt.Errorf("%s a cached answer: %w", doing, err))
	}
}

// Interface guards
var _ Store = (*Redis)(nil)
