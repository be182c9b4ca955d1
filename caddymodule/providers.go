package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/echo"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

func init() {
	caddy.RegisterModule(OpenAI{})
	caddy.RegisterModule(HuggingFace{})
	caddy.RegisterModule(OpenRouter{})
	caddy.RegisterModule(Echo{})
}

// OpenAI is a remote provider that speaks OpenAI's API.
type OpenAI struct {
	// The URL that `/chat/completions` and the like are appended to. Default: https://api.openai.com/v1. Without an API
	// key the default is disabled; another URL may do without.
	BaseURL string `json:"base_url,omitempty"`

	// The API key, sent as a bearer token. Write it as a placeholder, such as `{env.OPENAI_API_KEY}`, so that it stays
	// out of the configuration. If the placeholder is empty, the provider is disabled.
	APIKey string `json:"api_key,omitempty"`

	// Further headers to send. Values may hold placeholders.
	Headers http.Header `json:"headers,omitempty"`

	// The APIs that the provider speaks besides chat's: `messages` is Anthropic's POST /messages, `responses` OpenAI's POST
	// /responses. Requests for these go there as they came; requests to other providers are translated. `chat` stands for
	// neither. Default: none, but for OpenRouter both.
	Endpoints []string `json:"endpoints,omitempty"`

	// How to connect, as for `reverse_proxy`. Default: HTTP with a bound on connecting only.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	client   *openai.Client
	disabled string
}

const openAIBaseURL = "https://api.openai.com/v1"

// CaddyModule returns the Caddy module information.
func (OpenAI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.providers.openai",
		New: func() caddy.Module { return new(OpenAI) },
	}
}

// Provision implements caddy.Provisioner.
func (p *OpenAI) Provision(ctx caddy.Context) error {
	return p.provision(ctx, openAIBaseURL, nil)
}

// endpoints are the words for APIs besides chat's.
var endpoints = map[string]llmgateway.Operation{"messages": llmgateway.Messages, "responses": llmgateway.Responses}

// provision prepares the client. The default base URL is a service that wants a key, and speaks the default endpoints.
func (p *OpenAI) provision(ctx caddy.Context, defaultURL string, defaultEndpoints []llmgateway.Operation) error {
	repl := caddy.NewReplacer()
	key := repl.ReplaceAll(p.APIKey, "")
	baseURL := repl.ReplaceAll(p.BaseURL, "")
	switch {
	case p.APIKey != "" && strings.TrimSpace(key) == "":
		p.disabled = "api_key " + placeholderOnly(p.APIKey) + " is empty"
	case p.BaseURL != "" && baseURL == "":
		p.disabled = "base_url " + placeholderOnly(p.BaseURL) + " is empty"
	case p.BaseURL == "" && p.APIKey == "":
		p.disabled = "api_key is not set"
	}
	if baseURL == "" {
		baseURL = defaultURL
	}
	header := make(http.Header, len(p.Headers))
	for field, values := range p.Headers {
		if !httpguts.ValidHeaderFieldName(field) {
			return fmt.Errorf("header: %q is not the name of a header field", field)
		}
		for _, value := range values {
			header.Add(field, repl.ReplaceAll(value, ""))
		}
	}
	var transport http.RoundTripper
	if p.TransportRaw != nil {
		guest, err := ctx.LoadModule(p, "TransportRaw")
		if err != nil {
			return fmt.Errorf("loading transport: %w", err)
		}
		rt, ok := guest.(http.RoundTripper)
		if !ok {
			return fmt.Errorf("transport: module %T is not a transport", guest)
		}
		transport = guestTransport{rt}
	}
	var err error
	if p.client, err = openai.NewClient(baseURL, strings.TrimSpace(key), header, transport); err != nil {
		return err
	}
	if p.Endpoints == nil {
		p.client.Endpoints = defaultEndpoints
	}
	for _, word := range p.Endpoints {
		op, ok := endpoints[word]
		if !ok && word != "chat" {
			return fmt.Errorf("endpoints: there is no endpoint %q; there are: chat, messages, responses", word)
		}
		if ok {
			p.client.Endpoints = append(p.client.Endpoints, op)
		}
	}
	return nil
}

// placeholderOnly returns s if it is a placeholder, and nothing that could be a secret otherwise.
func placeholderOnly(s string) string {
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
		return s
	}
	return ""
}

// guestTransport gives a guest a request of its own: reverse_proxy's transports may change what they get.
type guestTransport struct{ http.RoundTripper }

func (t guestTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.RoundTripper.RoundTrip(r.Clone(r.Context()))
}

// Generate implements llmgateway.Provider.
func (p *OpenAI) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return p.client.Generate(ctx, req)
}

// Speaks implements llmgateway.Speaker.
func (p *OpenAI) Speaks(op llmgateway.Operation) bool { return p.client.Speaks(op) }

// Identity implements llmgateway.Identifier. It is where the provider is, and not who it is asked for.
func (p *OpenAI) Identity() string { return "openai " + p.client.BaseURL.String() }

// Status implements llmgateway.Reporter.
func (p *OpenAI) Status() llmgateway.Status {
	if p.disabled != "" {
		return llmgateway.Status{State: llmgateway.StateDisabled, Detail: p.disabled}
	}
	return llmgateway.Status{State: llmgateway.StateReady}
}

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens:
//
//	openai [<base_url>] {
//		base_url  <url>
//		api_key   <placeholder>
//		header    <field> <value>
//		endpoints <chat|messages|responses...>
//		transport <name> {
//			...
//		}
//	}
func (p *OpenAI) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the provider's type
	if d.NextArg() {
		p.BaseURL = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := seenWords{"base_url": p.BaseURL != ""}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "header"); err != nil {
			return err
		}
		var err error
		switch word := d.Val(); word {
		case "base_url":
			err = unmarshalString(d, &p.BaseURL)
		case "api_key":
			err = unmarshalString(d, &p.APIKey)
		case "header":
			var field, value string
			if !d.AllArgs(&field, &value) {
				return d.ArgErr()
			}
			if p.Headers == nil {
				p.Headers = http.Header{}
			}
			p.Headers.Add(field, value)
		case "endpoints":
			if p.Endpoints = d.RemainingArgs(); len(p.Endpoints) == 0 {
				return d.ArgErr()
			}
		case "transport":
			p.TransportRaw, err = unmarshalGuest(d, "http.reverse_proxy.transport", "protocol")
		default:
			return d.Errf("unrecognized word %s in a provider; there are: base_url, api_key, header, endpoints, transport", word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// HuggingFace is Hugging Face's router of inference providers. It is an `openai` provider with another default URL.
type HuggingFace struct{ OpenAI }

// CaddyModule returns the Caddy module information.
func (HuggingFace) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.providers.huggingface",
		New: func() caddy.Module { return new(HuggingFace) },
	}
}

// Provision implements caddy.Provisioner.
func (p *HuggingFace) Provision(ctx caddy.Context) error {
	return p.provision(ctx, "https://"+huggingFaceRouter+"/v1", nil)
}

const huggingFaceRouter = "router.huggingface.co"

// keyURL returns where Hugging Face says whose a key is. Its router lists models to everybody.
func (p *HuggingFace) keyURL() *url.URL {
	if p.client.BaseURL.Host != huggingFaceRouter {
		return nil
	}
	return &url.URL{Scheme: "https", Host: "huggingface.co", Path: "/api/whoami-v2"}
}

// OpenRouter is OpenRouter's API. It is an `openai` provider with another default URL.
type OpenRouter struct{ OpenAI }

// CaddyModule returns the Caddy module information.
func (OpenRouter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.providers.openrouter",
		New: func() caddy.Module { return new(OpenRouter) },
	}
}

// Provision implements caddy.Provisioner.
func (p *OpenRouter) Provision(ctx caddy.Context) error {
	return p.provision(ctx, "https://openrouter.ai/api/v1", []llmgateway.Operation{llmgateway.Messages, llmgateway.Responses})
}

// keyURL returns where OpenRouter says what a key may do. It lists models to everybody.
func (p *OpenRouter) keyURL() *url.URL { return p.client.BaseURL.JoinPath("key") }

// takesModels reports whether a provider understands a list of models in a request.
func takesModels(p llmgateway.Provider) bool {
	_, ok := p.(*OpenRouter)
	return ok
}

// Echo answers with what it was asked. It is for trying a configuration without a model.
type Echo struct{ echo.Provider }

// CaddyModule returns the Caddy module information.
func (Echo) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.providers.echo",
		New: func() caddy.Module { return new(Echo) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. It takes no options.
func (*Echo) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return unmarshalNothing(d) }

// Interface guards
var (
	_ llmgateway.Provider   = (*OpenAI)(nil)
	_ llmgateway.Reporter   = (*OpenAI)(nil)
	_ llmgateway.Speaker    = (*OpenAI)(nil)
	_ llmgateway.Provider   = (*Echo)(nil)
	_ caddyfile.Unmarshaler = (*OpenAI)(nil)
)
