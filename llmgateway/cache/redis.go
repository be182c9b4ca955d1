package cache

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/redis"
)

// Redis is a Store that several gateways can share. While the server is slow or down it holds nothing: a request waits for
// it redis.Within at most, and after a failure nobody asks it for a while.
type Redis struct {
	server *redis.Server
	keys   sharedKeys
}

const (
	putWithin = 2 * time.Second
	// redisPrefix begins every key, so that other users of the server know whose it is.
	redisPrefix = "llmgateway:answer:"
)

// NewRedis returns a Store for the server of a URL, as [redis.Open] takes it. failed is told, once for each rest, why the
// server is not asked.
func NewRedis(url string, failed func(error)) (*Redis, error) {
	server, err := redis.Open(url, putWithin, failed)
	if err != nil {
		return nil, err
	}
	return &Redis{server: server}, nil
}

// Get implements Store.
func (r *Redis) Get(ctx context.Context, key Key) ([]byte, bool) {
	if r.server.Resting() {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, redis.Within)
	defer cancel()
	answer, err := r.server.Get(ctx, name(key)).Bytes()
	if err != nil {
		r.server.Note(ctx, "reading a cached answer", err)
		return nil, false
	}
	return answer, true
}

// Put implements Store.
func (r *Redis) Put(ctx context.Context, key Key, answer []byte, ttl time.Duration) {
	if r.server.Resting() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, putWithin)
	defer cancel()
	if err := r.server.Set(ctx, name(key), answer, ttl).Err(); err != nil {
		r.server.Note(ctx, "writing a cached answer", err)
	}
}

// purgeBatch is how many keys are asked for, and deleted, at once.
const purgeBatch = 500

// Purge implements Purger. It deletes the gateways' answers and nothing else, while others may use the server.
func (r *Redis) Purge(ctx context.Context) (answers int, err error) {
	for cursor := uint64(0); ; {
		var keys []string
		if keys, cursor, err = r.server.Scan(ctx, cursor, redisPrefix+"*", purgeBatch).Result(); err != nil {
			return answers, fmt.Errorf("looking for cached answers: %w", err)
		}
		if len(keys) > 0 {
			n, err := r.server.Unlink(ctx, keys...).Result()
			if err != nil {
				return answers, fmt.Errorf("deleting cached answers: %w", err)
			}
			answers += int(n)
		}
		if cursor == 0 {
			return answers, nil
		}
	}
}

// Close closes all connections.
func (r *Redis) Close() error { return r.server.Close() }

func name(key Key) string { return redisPrefix + hex.EncodeToString(key[:]) }

// Interface guards
var (
	_ Store  = (*Redis)(nil)
	_ Keyer  = (*Redis)(nil)
	_ Purger = (*Redis)(nil)
)
