// Package hub downloads models from Hugging Face's hub, or from a server that answers like it.
//
// A download that was cut goes on where it ended, several parts of a file are fetched at once, and what arrives is checked
// against the hub's checksum before it gets its name. The server is not trusted: it may cut, stall, send something else
// than it was asked for, or redirect anywhere; names of files that lead out of a folder are refused, and the access token
// goes to the hub alone.
package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DefaultEndpoint is Hugging Face's hub.
const DefaultEndpoint = "https://huggingface.co"

// Client talks to one hub. Its fields are not changed after first use.
type Client struct {
	// Endpoint is where the hub is, such as https://huggingface.co.
	Endpoint *url.URL
	// Token lets files be read that are not for everybody. It is sent to the Endpoint's own scheme, host and port only.
	Token string
	// Transport sends the requests; one of its own if nil.
	Transport http.RoundTripper
	// Connections is how many parts of a file are fetched at once; 4 if 0.
	Connections int
	// Say is told what a user may want to know, such as that a part is tried again. It may be nil, and is
	// called from several goroutines at once.
	Say func(message string)
	// Progress is told how far a file is, several times a second, from one goroutine at a time. It may be nil.
	Progress func(Progress)

	timing timing
}

// Progress is how far a file is.
type Progress struct {
	// Name is the file's name.
	Name string
	// Checking is true once all bytes are there and their checksum is computed.
	Checking    bool
	Done, Total int64
}

// timing says how patient a Client is; the zero value is as patient as is right for people.
type timing struct {
	stall, backoff, longest, save time.Duration
	tries                         int
	chunk                         int64
}

var patient = timing{
	stall: 30 * time.Second, backoff: time.Second, longest: time.Minute, save: time.Second, tries: 8, chunk: 64 << 20,
}

// NewClient returns a Client for an endpoint, or for [DefaultEndpoint] if it is empty.
func NewClient(endpoint, token string) (*Client, error) {
	if endpoint == "" {
		endpoint = DefaultEndpoint
	}
	u, err := url.Parse(strings.TrimRight(endpoint, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the hub's endpoint is not of the form https://host")
	}
	token = strings.TrimSpace(token)
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the hub's access token has characters that no token has")
	}
	// One connection each for the parts of a file: HTTP/2 would send them through one.
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: patient.stall,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
		Protocols:             new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true)
	return &Client{Endpoint: u, Token: token, Transport: transport, timing: patient}, nil
}

func (c *Client) say(format string, args ...any) {
	if c.Say != nil {
		c.Say(fmt.Sprintf(format, args...))
	}
}

// isHub reports whether u is the hub itself, which may see the token.
func (c *Client) isHub(u *url.URL) bool {
	return u.Scheme == c.Endpoint.Scheme && strings.EqualFold(u.Host, c.Endpoint.Host)
}

// send sends one request without following redirects.
func (c *Client) send(ctx context.Context, method string, u *url.URL, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, errors.New("the hub redirects to something that is no URL")
	}
	maps.Copy(req.Header, header)
	req.Header.Set("User-Agent", "llmgateway")
	req.Header.Set("Accept-Encoding", "identity")
	if c.Token != "" && c.isHub(u) {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.Transport.RoundTrip(req)
	if err != nil {
		return nil, transportError(ctx, u, err)
	}
	return resp, nil
}

// tryError is a failed try, and what may help.
type tryError struct {
	err     error
	retry   bool
	after   time.Duration // before the next try, if the server asked for it
	denied  bool          // what serves the bytes refuses; its address may have expired
	noRange bool          // the server does not send parts of files
}

func (e *tryError) Error() string { return e.err.Error() }
func (e *tryError) Unwrap() error { return e.err }

// transportError says which host cannot be reached. The URL is left out: it may be signed.
func transportError(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled) {
		return context.Cause(ctx)
	}
	_, notTrusted := errors.AsType[*tls.CertificateVerificationError](err)
	lookup, isLookup := errors.AsType[*net.DNSError](err)
	final := notTrusted || isLookup && lookup.IsNotFound
	if errors.Is(context.Cause(ctx), errStalled) {
		err = errStalled
	}
	return &tryError{err: fmt.Errorf("%s: %w", u.Host, err), retry: !final}
}

var errStalled = errors.New("nothing came for too long")

// target returns where a redirect leads.
func (c *Client) target(from *url.URL, resp *http.Response) (*url.URL, error) {
	to, err := from.Parse(resp.Header.Get("Location"))
	switch {
	case err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" || to.User != nil:
		return nil, fmt.Errorf("%s redirects to something that is no web address", from.Host)
	case from.Scheme == "https" && to.Scheme == "http":
		return nil, fmt.Errorf("%s redirects to %s without encryption; refused", from.Host, to.Host)
	}
	return to, nil
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	default:
		return false
	}
}

const maxRedirects = 10

// follow sends a request and follows redirects.
func (c *Client) follow(ctx context.Context, method string, u *url.URL, header http.Header) (*http.Response, error) {
	for range maxRedirects {
		resp, err := c.send(ctx, method, u, header)
		if err != nil || !isRedirect(resp.StatusCode) {
			return resp, err
		}
		closeBody(resp)
		if u, err = c.target(u, resp); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s redirects in circles", u.Host)
}

// closeBody lets the connection be used again if little is left to read.
func closeBody(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
}

const maxListing = 64 << 20

// getJSON asks the hub's API, and again if it is busy. It returns the answer's header.
func (c *Client) getJSON(ctx context.Context, u *url.URL, into any) (http.Header, error) {
	var header http.Header
	err := c.retry(ctx, "asking "+u.Host, func() (bool, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, 2*c.timing.stall, errStalled)
		defer cancel()
		resp, err := c.follow(ctx, http.MethodGet, u, nil)
		if err != nil {
			return false, err
		}
		defer closeBody(resp)
		if resp.StatusCode != http.StatusOK {
			return false, statusError(resp)
		}
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxListing))
		if err != nil {
			return false, transportError(ctx, u, err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			return false, fmt.Errorf("%s answers with something else than a list of files; is it a hub?", u.Host)
		}
		header = resp.Header
		return false, nil
	})
	return header, err
}

// retry calls f until it succeeds or fails for good, or has failed too often without getting anywhere. f reports whether
// it got anywhere.
func (c *Client) retry(ctx context.Context, what string, f func() (progress bool, err error)) error {
	for failures := 1; ; failures++ {
		progress, err := f()
		if err == nil {
			return nil
		}
		fail, ok := errors.AsType[*tryError](err)
		if ctx.Err() != nil || !ok || !fail.retry {
			return err
		}
		if progress {
			failures = 1
		}
		if failures >= c.timing.tries {
			return fmt.Errorf("%w (given up after %d tries)", err, failures)
		}
		pause := min(c.timing.backoff<<(failures-1), c.timing.longest)
		pause += time.Duration(rand.Int64N(int64(pause)/2 + 1))
		pause = max(pause, fail.after)
		if failures > 1 || fail.after > 0 {
			c.say("%s: %v; trying again in %v", what, err, pause.Round(100*time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// maxRetryAfter is the longest that a server's wish to be left alone is waited for.
const maxRetryAfter = 10 * time.Minute

// statusError makes an error of an answer that is none.
func statusError(resp *http.Response) *tryError {
	f := &tryError{err: &StatusError{Status: resp.StatusCode, Host: resp.Request.URL.Host, Message: resp.Header.Get("X-Error-Message")}}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode >= 500:
		f.retry = true
		f.after = retryAfter(resp.Header.Get("Retry-After"))
		if f.after > maxRetryAfter {
			f.retry = false
		}
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden,
		resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		f.denied = true
	}
	return f
}

func retryAfter(value string) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// StatusError is an answer with a status that is no success.
type StatusError struct {
	Status int
	Host   string
	// Message is what the hub says about it, if anything.
	Message string
}

// Error returns what happened in a line.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s answers %d %s", e.Host, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message[:min(len(e.Message), 300)]
	}
	return text
}
