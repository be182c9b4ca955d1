package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/keys"
)

func init() {
	caddy.RegisterModule(Auth{})
}

// Auth lets requests through that bring a key, and refuses others with the status 401 and an OpenAI error object. It sets
// `{http.auth.user.id}` to the key's client, as Caddy's own authentication does, so that logs, `rate_limit`, `llm_limit` and the
// cache know who asks, and tells the llm handlers after it which models the key is for.
//
// A key comes as `Authorization: Bearer <key>`, as `x-api-key: <key>`, or as the beginning of the path, `/k/<key>/v1/...`, for
// clients that can be given an address and nothing else. If one is in the path, it alone counts. Handlers that come after see
// no key, and the path without it.
//
// Caddy's logs tell a request as it came, so a request whose key they would show is begun anew without it: it is routed from the
// start, and logged once. Handlers before this one see such a request twice, the first time with the key, so this one
// comes first, behind `llm_lockout` alone.
type Auth struct {
	// Whose keys open.
	Keys []*AuthKey `json:"keys,omitempty"`

	// A folder with a file for each further client, which is named as the file without its extension. On each line there is a
	// key, and behind it, if anything, `expires=2027-03-31` and `models=qwen,local-*`. Hidden files are not looked at. It
	// is read when the configuration is loaded.
	KeysFrom string `json:"keys_from,omitempty"`

	ring   *keys.Ring
	logger *zap.Logger
}

// AuthKey is the keys of a client.
type AuthKey struct {
	// What the client is called in logs and limits.
	Client string `json:"client,omitempty"`

	// Placeholders for the keys, each `{env.*}` or `{file.*}`, so that no key is part of the configuration. A value with white
	// space in it is several keys. They have at least 16 characters.
	Secrets []string `json:"secrets,omitempty"`

	// When the keys stop to open: a day, the end of which in UTC it is, or a time as RFC 3339 writes it. Default: never.
	Expires string `json:"expires,omitempty"`

	// The models that the keys are for, by any of their names; names may end in *. Default: all.
	Models []string `json:"models,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Auth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_auth",
		New: func() caddy.Module { return new(Auth) },
	}
}

// Provision implements caddy.Provisioner. It reads the keys, and fails unless each can be had and there is one.
func (a *Auth) Provision(ctx caddy.Context) error {
	a.logger, a.ring = ctx.Logger(), new(keys.Ring)
	for _, k := range a.Keys {
		if k == nil {
			return errors.New("llm_auth: a key is null")
		}
		if err := k.addTo(a.ring); err != nil {
			return fmt.Errorf("llm_auth: %w", err)
		}
	}
	if err := a.readFolder(); err != nil {
		return fmt.Errorf("llm_auth: keys_from: %w", err)
	}
	if a.ring.Len() == 0 {
		return errors.New("llm_auth: there is no key, so nobody could get in: write one as `key <client> {env.<variable>}`")
	}
	return nil
}

// addTo adds the keys to a ring.
func (k *AuthKey) addTo(ring *keys.Ring) error {
	grant := keys.Grant{Client: k.Client, Models: k.Models}
	if k.Expires != "" {
		expires, err := keys.ParseExpiry(k.Expires)
		if err != nil {
			return fmt.Errorf("client %s: expires: %w", k.Client, err)
		}
		grant.Expires = expires
	}
	if len(k.Secrets) == 0 {
		return fmt.Errorf("client %s has no key", k.Client)
	}
	repl := caddy.NewReplacer()
	for i, secret := range k.Secrets {
		if !isPlaceholder(secret) {
			return fmt.Errorf("client %s: key %d is written into the configuration, where the admin API and backups show it; "+
				"write {env.<variable>} or {file.<path>} in its place", k.Client, i+1)
		}
		value, err := repl.ReplaceOrErr(secret, true, true)
		if err != nil || strings.TrimSpace(value) == "" {
			return fmt.Errorf("client %s: %s is empty; set it, or remove the key", k.Client, secret)
		}
		several := strings.Fields(value)
		for _, one := range several {
			if err := ring.Add(one, grant); err != nil {
				if len(several) > 1 {
					err = fmt.Errorf("%w (it has white space in it, so each of its %d words is a key)", err, len(several))
				}
				return fmt.Errorf("%s: %w", secret, err)
			}
		}
	}
	return nil
}

// isPlaceholder reports whether s is one placeholder for a variable or a file, and nothing else.
func isPlaceholder(s string) bool {
	name, ok := strings.CutPrefix(s, "{")
	name, ends := strings.CutSuffix(name, "}")
	return ok && ends && !strings.ContainsAny(name, "{}") && (strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file."))
}

// readFolder adds the keys that are in files.
func (a *Auth) readFolder() error {
	if a.KeysFrom == "" {
		return nil
	}
	folder, err := caddy.NewReplacer().ReplaceOrErr(a.KeysFrom, true, true)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		// What is mounted from a store of secrets is often a link.
		info, err := os.Stat(path)
		switch {
		case strings.HasPrefix(entry.Name(), ".") || err == nil && info.IsDir():
			continue
		case err == nil && !info.Mode().IsRegular(): // reading a pipe would hold up every reload
			return fmt.Errorf("%s is not a file", path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		client := strings.TrimSuffix(entry.Name(), filepath.Ext(entry.Name()))
		if err := a.ring.AddFile(client, string(text)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (a *Auth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if again := withoutShownKeys(r); again != nil {
		return beginAnew(w, r, again)
	}
	presented := presentedKeys(r)
	grant, err := a.find(presented)
	if err != nil {
		if c := a.logger.Check(zap.DebugLevel, "request refused"); c != nil {
			c.Write(zap.Bool("has_key", len(presented) > 0), zap.Error(err))
		}
		attemptOf(r.Context()).refused()
		refuse(w, r, len(presented) > 0, err)
		return nil
	}
	attemptOf(r.Context()).opened()
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.auth.user.id", grant.Client)
	}
	return next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), grantKey{}, grant)))
}

// find returns what the first of the keys that opens something opens.
func (a *Auth) find(presented []string) (keys.Grant, error) {
	reason := keys.ErrUnknown
	for _, key := range presented {
		grant, err := a.ring.Find(key, time.Now())
		if err == nil {
			return grant, nil
		}
		if errors.Is(err, keys.ErrExpired) {
			reason = err
		}
	}
	return keys.Grant{}, reason
}

// refuse writes why a request gets no further, in the words of the API that it asks for.
func refuse(w http.ResponseWriter, r *http.Request, hasKey bool, reason error) {
	e := &llmgateway.Error{
		Kind: llmgateway.InvalidRequest, Status: http.StatusUnauthorized, Code: "invalid_api_key",
		Message: reason.Error() + "; ask whoever runs this gateway for one",
	}
	challenge := `Bearer realm="LLM gateway", error="invalid_token"`
	if !hasKey {
		e.Message = "this gateway needs a key; send it as `Authorization: Bearer <key>`"
		challenge = `Bearer realm="LLM gateway"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	apiOf(r.URL.Path).fail(w, e)
}

type grantKey struct{}

// allowedModels returns the names of the models that a request's key is for, or nil for all.
func allowedModels(ctx context.Context) []string {
	grant, _ := ctx.Value(grantKey{}).(keys.Grant)
	return grant.Models
}

type hiddenKeysKey struct{}

// hiddenKeys are the keys that were taken out of a request before it was begun anew.
type hiddenKeys struct {
	keys   []string
	inPath bool
}

// withoutShownKeys returns the request without those of its keys that Caddy would log, or nil if there are none. Caddy
// conceals the header field Authorization itself. One key is taken out of a path, whatever follows it: how often a request is
// begun anew is not for strangers to choose.
func withoutShownKeys(r *http.Request) *http.Request {
	if before, _ := r.Context().Value(hiddenKeysKey{}).(hiddenKeys); before.inPath {
		return nil
	}
	var hidden hiddenKeys
	key, rest, inPath := keys.FromPath(r.URL.EscapedPath())
	switch fields := r.Header.Values("X-Api-Key"); {
	case inPath:
		hidden = hiddenKeys{[]string{key}, true}
	case len(fields) > 0:
		hidden.keys = fields
	default:
		return nil
	}
	again := r.Clone(context.WithValue(r.Context(), hiddenKeysKey{}, hidden))
	again.Header.Del("X-Api-Key")
	if inPath {
		again.URL.Path, again.URL.RawPath = rest, ""
		if path, err := url.PathUnescape(rest); err == nil && path != rest {
			again.URL.Path, again.URL.RawPath = path, rest
		}
		again.RequestURI = again.URL.RequestURI()
	}
	return again
}

// beginAnew has the server serve a request again without what Caddy would log, and log the second one only.
func beginAnew(w http.ResponseWriter, r, again *http.Request) error {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return caddyhttp.Error(http.StatusInternalServerError, errors.New("there is no server to begin the request anew"))
	}
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	// A span that is open already would tell the path as it came.
	trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("url.path", again.URL.Path))
	w.Header().Del("Alt-Svc") // the server adds it again
	server.ServeHTTP(w, again)
	return nil
}

// presentedKeys returns the keys of a request, and removes them from it.
func presentedKeys(r *http.Request) []string {
	hidden, _ := r.Context().Value(hiddenKeysKey{}).(hiddenKeys)
	presented := hidden.keys
	var others []string
	for _, field := range r.Header.Values("Authorization") {
		key, ok := keys.FromBearer(field)
		switch {
		case !ok:
			others = append(others, field)
		case !hidden.inPath: // Bytebot sends a constant beside
			presented = append(presented, key)
		}
	}
	r.Header.Del("Authorization")
	for _, field := range others {
		r.Header.Add("Authorization", field)
	}
	return presented
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Auth)(nil)
	_ caddyhttp.MiddlewareHandler = (*Auth)(nil)
)
