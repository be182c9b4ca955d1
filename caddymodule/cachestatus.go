package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
)

// cacheStatus is what a cache holds, and what it did for requests since the process began.
type cacheStatus struct {
	Type string `json:"type"`
	// Answers and Bytes are nil for a cache that cannot tell.
	Answers *int                             `json:"answers,omitempty"`
	Bytes   *int64                           `json:"bytes,omitempty"`
	Results map[llmgateway.CacheResult]int64 `json:"results"`
}

// cacheReports returns what the handlers' caches hold.
func cacheReports(handlers []*Handler) (reports []cacheStatus) {
	seen := make(map[string]bool)
	for _, h := range handlers {
		if h.store == nil {
			continue
		}
		name := h.store.CaddyModule().ID.Name()
		if seen[name] {
			continue
		}
		seen[name] = true
		report := cacheStatus{Type: name, Results: cacheResults.counts()}
		if s, ok := h.store.(interface{ Use() (int, int64) }); ok {
			answers, bytes := s.Use()
			report.Answers, report.Bytes = &answers, &bytes
		}
		reports = append(reports, report)
	}
	return reports
}

// cacheTally counts what caches did for requests.
type cacheTally struct{ hit, shared, miss, bypass atomic.Int64 }

// cacheResults counts since the process began.
var cacheResults cacheTally

// add counts a request. Where there is no cache there is no result.
func (c *cacheTally) add(result llmgateway.CacheResult) {
	switch result {
	case llmgateway.CacheHit:
		c.hit.Add(1)
	case llmgateway.CacheShared:
		c.shared.Add(1)
	case llmgateway.CacheMiss:
		c.miss.Add(1)
	case llmgateway.CacheBypass:
		c.bypass.Add(1)
	}
}

func (c *cacheTally) counts() map[llmgateway.CacheResult]int64 {
	return map[llmgateway.CacheResult]int64{
		llmgateway.CacheHit: c.hit.Load(), llmgateway.CacheShared: c.shared.Load(),
		llmgateway.CacheMiss: c.miss.Load(), llmgateway.CacheBypass: c.bypass.Load(),
	}
}

// errNoPurge is the error of a purge where there is nothing to purge.
var errNoPurge = errors.New("no llm handler has a cache that can be purged")

// purgeCaches forgets what the caches of the handlers hold, and returns about how many answers that were.
func purgeCaches(ctx context.Context, handlers []*Handler) (answers int, err error) {
	purged := false
	for _, h := range handlers {
		store, ok := h.store.(cache.Purger)
		if !ok {
			continue
		}
		n, err := store.Purge(ctx)
		if answers += n; err != nil {
			return answers, fmt.Errorf("cache %s: %w", h.store.CaddyModule().ID.Name(), err)
		}
		purged = true
	}
	if !purged {
		return 0, errNoPurge
	}
	return answers, nil
}
