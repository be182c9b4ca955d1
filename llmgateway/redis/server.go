// Package redis reaches a Redis server that several gateways share, and does without it while it is slow or down.
package redis

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Within is how long a request waits for the server at most. What nobody waits for may take longer.
const Within = 250 * time.Millisecond

// rest is how long a server that failed is left alone.
const rest = 5 * time.Second

// NewScript returns a Lua script that runs on the server.
var NewScript = redis.NewScript

// Server is a connection to a server, with all its commands. Commands are not repeated, and end with their context.
//
// Ask Resting before a command, and Note what becomes of it: then a server that fails costs one request its wait, and is
// left alone for some seconds.
type Server struct {
	*redis.Client

	failed func(error)
	retry  atomic.Int64 // when it may be asked again, in Unix nanoseconds
}

// Open returns a server by its URL, which is redis://[user:password@]host[:port][/database], or rediss:// for TLS. Nothing
// is connected yet. A command takes no longer than timeout. failed is told, once for each rest, why the server is not asked.
// The error does not quote the URL.
func Open(url string, timeout time.Duration, failed func(error)) (*Server, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the Redis URL is not of the form redis://user:password@host:port/database") // the cause quotes it
	}
	options.DialTimeout = Within
	options.ReadTimeout, options.WriteTimeout = timeout, timeout
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1
	options.DisableIdentity = true
	return &Server{Client: redis.NewClient(options), failed: failed}, nil
}

// Resting reports whether the server has failed lately and is not to be asked.
func (s *Server) Resting() bool { return time.Now().UnixNano() < s.retry.Load() }

// Note takes in what a command with that context returned: after a failure the server rests. That a key is not there is
// none, and neither is that the client left or that the connections were closed.
func (s *Server) Note(ctx context.Context, doing string, err error) {
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, redis.ErrClosed) || errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	now := time.Now()
	before := s.retry.Load()
	if before <= now.UnixNano() && s.retry.CompareAndSwap(before, now.Add(rest).UnixNano()) {
		s.failed(fmt.Errorf("%s: %w", doing, err))
	}
}

// Rested ends the rest, if there is one.
func (s *Server) Rested() { s.retry.Store(0) }
