package openai

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Check asks the server for its list of models, which costs nothing, and returns nil if that shows that it could generate.
//
// A server that does not have the list, limits how often it is asked for, or does not give it to our key, is there all the
// same. What counts is that it answers at all, that it does not fail (5xx), and that it takes our key (401) and has credit
// (402). The error may be shown to clients.
func (c *Client) Check(ctx context.Context) *llmgateway.Error {
	u := *c.BaseURL
	u.Path += "/models"
	return c.CheckAt(ctx, &u)
}

// CheckAt is Check by another address of the server's owner, who is given the key, too.
func (c *Client) CheckAt(ctx context.Context, u *url.URL) *llmgateway.Error {
	c.once.Do(c.prepare)
	hr := (&http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: c.json, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	transport := c.Transport
	if transport == nil {
		transport = defaultTransport()
	}
	resp, err := transport.RoundTrip(hr)
	if err != nil {
		return c.transportError(ctx, err)
	}
	defer resp.Body.Close()
	drain(resp.Body)
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusPaymentRequired:
		return &llmgateway.Error{Kind: llmgateway.Denied, Status: status, Message: "the provider refuses the gateway's credentials or credit (HTTP " + strconv.Itoa(status) + ")"}
	case status >= 500 && status != http.StatusNotImplemented:
		return &llmgateway.Error{Kind: kindOfStatus(status), Status: status, Message: "HTTP " + strconv.Itoa(status)}
	}
	return nil
}
