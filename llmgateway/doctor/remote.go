package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Remote is a provider elsewhere.
type Remote struct {
	Name string
	// Disabled says why the provider is switched off, or is empty. Then it is not asked.
	Disabled string
	// Client reaches it.
	Client *openai.Client
	// Key is where it tells whether it takes the key, where its list of models is for everybody; nil if it is not known.
	Key *url.URL
}

const (
	// remoteTime is how long a provider may take to answer.
	remoteTime = 10 * time.Second
	// maxSkew is how far a clock may be off before certificates and signed requests are in danger. The Date of a server has
	// whole seconds and has been on its way.
	maxSkew = time.Minute
)

// Remotes asks each provider for its list of models, which costs nothing, and whether it takes the key if that does not show
// it, and compares the clocks. All are asked at once.
func Remotes(ctx context.Context, remotes []Remote) []Finding {
	found := make([][]Finding, len(remotes))
	var all sync.WaitGroup
	for i, r := range remotes {
		all.Go(func() { found[i] = r.check(ctx) })
	}
	all.Wait()
	var findings []Finding
	for _, f := range found {
		findings = append(findings, f...)
	}
	return findings
}

func (r Remote) check(ctx context.Context) []Finding {
	f := Finding{Area: "provider", Subject: r.Name, Verdict: OK, Detail: "it answers and takes the key"}
	if r.Disabled != "" {
		f.Verdict, f.Detail = Warning, "switched off: "+r.Disabled
		f.Advice = "set the variable to use it, or remove the provider"
		return []Finding{f}
	}
	ctx, cancel := context.WithTimeout(ctx, remoteTime)
	defer cancel()
	clock := &dateReader{transport: r.Client.Transport}
	if clock.transport == nil {
		clock.transport = openai.DefaultTransport()
	}
	client := &openai.Client{BaseURL: r.Client.BaseURL, Header: r.Client.Header, Transport: clock}
	err := client.Check(ctx)
	status, page, open := clock.status, clock.page, false
	if keyed := len(r.Client.Header["Authorization"]) > 0; keyed && err == nil && status < http.StatusMultipleChoices && !page {
		open, err = r.checkKey(ctx, client, clock)
	}
	switch {
	case err == nil && status == http.StatusTooManyRequests:
		f.Verdict, f.Detail = Warning, "it answers, and limits how often it is asked (HTTP 429)"
		f.Advice = "try again in a minute; until then other targets are asked"
	case err == nil && (status >= http.StatusMultipleChoices || page):
		f.Verdict, f.Detail = Warning, fmt.Sprintf("it answers, but does not list its models (HTTP %d)", status)
		if page {
			f.Detail = "it answers with a page for people, and not with a list of models"
		}
		f.Advice = "check that base_url ends where /models and /chat/completions follow, and that the key may use it"
	case err == nil && open:
		f.Detail = "it answers; everybody may list its models, so that this does not show whether it takes the key"
	case err == nil && len(r.Client.Header["Authorization"]) == 0:
		f.Detail = "it answers"
	case err == nil:
	case err.Kind == llmgateway.Denied:
		f.Verdict, f.Detail = Failure, err.Message
		f.Advice = "check that the key in the configuration's variable is current, and that the account has credit"
	case err.Status >= http.StatusInternalServerError:
		f.Verdict, f.Detail = Failure, "it fails: "+err.Message
		f.Advice = "wait until the provider has recovered; until then other targets are asked"
	default:
		f.Verdict, f.Detail = Failure, "it does not answer: "+err.Message
		f.Advice = "check base_url, the network, DNS and any proxy between"
		if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			f.Detail += ": " + certificate.Err.Error()
			f.Advice = "check this machine's clock and base_url; if the certificate is of an authority of your own, name it in the provider's transport (tls_trust_pool)"
		}
	}
	return append([]Finding{f}, clock.finding(r.Name)...)
}

// checkKey finds out whether a provider that lists its models takes the key. open is true if that cannot be found out.
func (r Remote) checkKey(ctx context.Context, client *openai.Client, noted *dateReader) (open bool, err *llmgateway.Error) {
	if r.Key != nil {
		err = client.CheckAt(ctx, r.Key)
		return err == nil && noted.status >= http.StatusMultipleChoices, err
	}
	stranger := &openai.Client{BaseURL: client.BaseURL, Transport: noted}
	refused := stranger.Check(ctx) != nil || noted.status >= http.StatusMultipleChoices
	return !refused, nil
}

// dateReader notes what time it is at the server that answers first, and with which status each one does.
type dateReader struct {
	transport http.RoundTripper
	status    int
	page      bool          // of HTML, which no API answers with
	skew      time.Duration // of our clock
	known     bool
}

// RoundTrip implements http.RoundTripper.
func (d *dateReader) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := d.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	d.status = resp.StatusCode
	d.page = d.status < http.StatusMultipleChoices && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && !d.known {
		// The server wrote it at some time in between.
		d.skew, d.known = began.Add(time.Since(began)/2).Sub(date), true
	}
	return resp, nil
}

// finding says whether the clocks agree, if the server has told its time.
func (d *dateReader) finding(name string) []Finding {
	if !d.known {
		return nil
	}
	if d.skew.Abs() <= maxSkew {
		return []Finding{{Area: "clock", Subject: "of " + name, Verdict: OK, Detail: "agrees with this machine's"}}
	}
	way := "ahead of"
	if d.skew < 0 {
		way = "behind"
	}
	return []Finding{{
		Area: "clock", Subject: "of " + name, Verdict: Warning,
		Detail: fmt.Sprintf("this machine's clock is %s %s the provider's", d.skew.Abs().Round(time.Second), way),
		Advice: "let the machine keep its time by NTP (timedatectl set-ntp true); certificates and limits depend on it",
	}}
}
