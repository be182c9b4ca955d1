package caddymodule

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func init() {
	caddy.OnExit(settling.wait)
}

// settling knows the engines that may still have something to save when Caddy exits. Caddy stops apps and cleans up modules
// under a lock, so nobody may wait there; and when it exits, the engines' processes end with it.
var settling settlers

type settlers struct {
	mu      sync.Mutex // guards engines
	engines []*local.Engine
}

// settleTime bounds what saving adds to Caddy's exit.
const settleTime = 45 * time.Second

func (s *settlers) add(e *local.Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines = slices.DeleteFunc(s.engines, func(e *local.Engine) bool {
		select {
		case <-e.Done():
			return true
		default:
			return false
		}
	})
	s.engines = append(s.engines, e)
}

// wait waits for the engines that have been let go of. Those that are still held are in use: their connections were cut.
func (s *settlers) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	s.mu.Lock()
	engines := slices.Clone(s.engines)
	s.mu.Unlock()
	for _, e := range engines {
		e.Settle(ctx)
	}
}
