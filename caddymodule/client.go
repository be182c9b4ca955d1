package caddymodule

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/bytebot"
)

// provisionClient loads the client's adapter, if one is configured.
func (h *Handler) provisionClient(ctx caddy.Context) error {
	if h.ClientRaw == nil {
		return nil
	}
	guest, err := ctx.LoadModule(h, "ClientRaw")
	if err != nil {
		return fmt.Errorf("loading client: %w", err)
	}
	adapter, ok := guest.(llmgateway.Adapter)
	if !ok {
		return fmt.Errorf("client: module %T is not an adapter", guest)
	}
	h.client = adapter
	return nil
}

// padder is an adapter whose client is sent white space while it waits for a whole answer: first after a time, if that is above
// 0, and then after each interval.
type padder interface {
	padding() (first, interval time.Duration)
}

// headers returns the header fields that have to be kept of requests: those that rules look at, and those that the client's
// adapter does.
func (h *Handler) headers() []string {
	names := ruleHeaders(h.table)
	if h.client != nil {
		names = append(names, bytebot.RetryField)
	}
	return names
}

// adapt lets the client's adapter change a request, which it takes over.
func (h *Handler) adapt(ctx context.Context, req *llmgateway.Request) (*llmgateway.Request, error) {
	if h.client == nil {
		return req, nil
	}
	adapted, err := h.client.Adapt(ctx, req)
	if err != nil {
		release(req)
		return nil, err
	}
	if adapted.Body != req.Body {
		req.Body.Release()
	}
	return adapted, nil
}

// answer answers a request, by way of its exchange if it has one.
func (h *Handler) answer(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	if req.Exchange == nil {
		return h.table.Generate(ctx, req)
	}
	return req.Exchange.Answer(ctx, req, h.table.Generate)
}
