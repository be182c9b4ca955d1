package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// client keeps its connections, as SDKs do.
var client = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, WriteBufferSize: 64 << 10},
	Timeout:   30 * time.Second,
}

// load sends n requests of a shape, s.atOnce at once, and returns how long each took. The first answer that is not what
// the upstream sent is an error.
func load(ctx context.Context, url string, s *shape, n int, upstream *mock) ([]time.Duration, error) {
	upstream.current.Store(s)
	latencies := make([]time.Duration, n)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range s.atOnce {
		workers.Go(func() {
			var answer bytes.Buffer
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				began := time.Now()
				err := send(ctx, url, s, &answer)
				latencies[i] = time.Since(began)
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return latencies, context.Cause(ctx)
}

// send sends one request and checks the answer.
func send(ctx context.Context, url string, s *shape, answer *bytes.Buffer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(s.body))
	if err != nil {
		return err
	}
	req.Header["Content-Type"] = []string{"application/json"}
	req.Header["Authorization"] = []string{"Bearer none"}
	if s.uncached {
		req.Header["Cache-Control"] = []string{"no-cache"}
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer.Reset()
	if _, err := io.Copy(answer, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %.300s", resp.StatusCode, answer)
	}
	return s.answer.check(answer.Bytes(), s.stream)
}
