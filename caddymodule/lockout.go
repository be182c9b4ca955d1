package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/keys"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/lockout"
)

func init() {
	caddy.RegisterModule(Lockout{})
}

// Lockout keeps out addresses from which somebody guesses passwords or keys. It goes before whatever looks at them, such as
// `basic_auth` and `llm_auth`, and counts what that refuses: a request with `Authorization`, `x-api-key` or a key in its
// path that is answered with the status 401. A request with none of them is no guess. When too many different ones were
// wrong, what comes from the address is answered with the status 429 and Retry-After, and nobody looks at what it brings.
//
// Addresses may be shared. So a key that `llm_auth` has taken goes on to open where it did, and whoever has logged in with
// `basic_auth` has a cookie since, with which the same login goes on to open. Such a key goes on without what else comes with
// it, and the cookie is for a login that comes alone. What is right never counts.
//
// An address is Caddy's `{client_ip}`, which heeds `trusted_proxies`, or the network of 64 bits that an IPv6 address is in.
// Handlers with equal settings count together, also over reloads.
type Lockout struct {
	// How many different wrong passwords and keys may come from an address. Default: 10.
	Attempts int `json:"attempts,omitempty"`

	// In which time. Default: 5m.
	Window caddy.Duration `json:"window,omitempty"`

	// How long the address is kept out then. Default: 15m.
	Duration caddy.Duration `json:"duration,omitempty"`

	guard  *lockout.Guard
	held   bool
	logger *zap.Logger
}

// guards holds what is known of addresses, by the settings under which it is, so that a reload keeps it.
var guards = caddy.NewUsagePool()

// keptGuard makes a lockout.Guard a caddy.Destructor. It is memory and nothing else.
type keptGuard struct{ *lockout.Guard }

// Destruct implements caddy.Destructor.
func (keptGuard) Destruct() error { return nil }

// CaddyModule returns the Caddy module information.
func (Lockout) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_lockout",
		New: func() caddy.Module { return new(Lockout) },
	}
}

// Provision implements caddy.Provisioner.
func (l *Lockout) Provision(ctx caddy.Context) error {
	l.logger = ctx.Logger()
	if _, err := ctx.App("llm"); err != nil { // which has the metrics
		return err
	}
	settings := l.settings()
	value, _, err := guards.LoadOrNew(settings, func() (caddy.Destructor, error) {
		guard, err := lockout.New(settings)
		return keptGuard{guard}, err
	})
	if err != nil {
		return fmt.Errorf("llm_lockout: %w", err)
	}
	l.guard, l.held = value.(keptGuard).Guard, true
	return nil
}

// settings returns what is configured, with defaults for what is not.
func (l *Lockout) settings() lockout.Settings {
	return lockout.Settings{
		Attempts: cmp.Or(l.Attempts, 10),
		Window:   cmp.Or(time.Duration(l.Window), 5*time.Minute),
		Duration: cmp.Or(time.Duration(l.Duration), 15*time.Minute),
	}
}

// Cleanup implements caddy.CleanerUpper. Requests that are still running go on with what they have.
func (l *Lockout) Cleanup() error {
	if !l.held {
		return nil
	}
	l.held = false
	_, err := guards.Delete(l.settings())
	return err
}

// The metrics of lockouts, which are the process's.
var (
	lockoutsTotal = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "caddy_llm_lockouts_total",
		Help: "Times that an address was locked out after too many wrong passwords or keys.",
	})
	lockoutRefusalsTotal = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "caddy_llm_lockout_refusals_total",
		Help: "Requests that were refused because of the address that they came from.",
	})
)

// lockoutStatus is an address that is locked out.
type lockoutStatus struct {
	Client string    `json:"client"`
	Until  time.Time `json:"until"`
}

// lockoutReports returns the addresses that are locked out now.
func lockoutReports() []lockoutStatus {
	var all []*lockout.Guard
	guards.Range(func(_, guard any) bool {
		all = append(all, guard.(keptGuard).Guard)
		return true
	})
	reports := []lockoutStatus{} // not null in JSON
	for _, guard := range all {
		for _, out := range guard.Lockouts(time.Now()) {
			reports = append(reports, lockoutStatus{addressOf(out.Client), out.Until})
		}
	}
	slices.SortStableFunc(reports, func(a, b lockoutStatus) int { return cmp.Compare(a.Client, b.Client) })
	return reports
}

// addressOf names what counts as an address.
func addressOf(client netip.Prefix) string {
	if client.IsSingleIP() {
		return client.Addr().String()
	}
	return client.String()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *Lockout) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if before := attemptOf(r.Context()); before != nil { // a request that was begun anew
		if before.wait > 0 {
			refuseForNow(w, r, before.wait)
			return nil
		}
		return next.ServeHTTP(w, r)
	}
	token := takeToken(r.Header)
	credentials := credentialsOf(r)
	if len(credentials) == 0 {
		return next.ServeHTTP(w, r)
	}
	clientIP, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	address, _ := netip.ParseAddr(clientIP) // a socket has none
	try, wait := l.guard.Admit(address, credentials, token, time.Now())
	if try == nil || wait > 0 && !leaveOnly(r, try.Credentials()) {
		lockoutRefusalsTotal.Inc()
		return refuseUnseen(w, r, wait)
	}
	defer try.End()
	a := &attempt{lockout: l, try: try, secure: r.TLS != nil}
	a.replacer, _ = r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	a.before = a.user()
	recorder := caddyhttp.NewResponseRecorder(w, nil, func(status int, header http.Header) bool {
		a.answered(status, header)
		return false
	})
	err := next.ServeHTTP(recorder, r.WithContext(context.WithValue(r.Context(), attemptKey{}, a)))
	if failure, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		a.answered(failure.StatusCode, w.Header())
	}
	return err
}

// credentialsOf returns the keys and logins of a request that somebody may look at.
func credentialsOf(r *http.Request) (credentials []string) {
	add := func(credential string) {
		if credential != "" {
			credentials = append(credentials, credential)
		}
	}
	if key, _, ok := keys.FromPath(r.URL.EscapedPath()); ok {
		add(key)
	}
	for _, key := range r.Header.Values("X-Api-Key") {
		add(key)
	}
	for _, field := range r.Header.Values("Authorization") {
		add(credentialOf(field))
	}
	return credentials
}

// credentialOf returns the key or login that a header field tells.
func credentialOf(field string) string {
	if key, ok := keys.FromBearer(field); ok {
		return key
	}
	return field
}

// leaveOnly takes all credentials but some out of a request. It reports false if one is in the path, where it stays.
func leaveOnly(r *http.Request, some []string) bool {
	if key, _, ok := keys.FromPath(r.URL.EscapedPath()); ok && !slices.Contains(some, key) {
		return false
	}
	for _, name := range []string{"X-Api-Key", "Authorization"} {
		fields := r.Header.Values(name)
		r.Header.Del(name)
		for _, field := range fields {
			if slices.Contains(some, credentialOf(field)) {
				r.Header.Add(name, field)
			}
		}
	}
	return true
}

// refuseUnseen refuses a request that nobody is to look at. One that has a key which Caddy would log is begun anew without
// it, as [Auth] does, and without all else that it brings: whatever the configuration makes of the second one, nobody lets it in.
func refuseUnseen(w http.ResponseWriter, r *http.Request, wait time.Duration) error {
	again := withoutShownKeys(r)
	if again == nil {
		refuseForNow(w, r, wait)
		return nil
	}
	again.Header.Del("Authorization")
	ctx := context.WithValue(again.Context(), hiddenKeysKey{}, hiddenKeys{inPath: true})
	return beginAnew(w, r, again.WithContext(context.WithValue(ctx, attemptKey{}, &attempt{wait: wait})))
}

// refuseForNow says when to come again. People get text, and programs an error of the API that they ask for.
func refuseForNow(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	e := &llmgateway.Error{
		Kind: llmgateway.RateLimited, RetryAfter: wait, Code: "locked_out",
		Message: "too many wrong passwords or keys came from this address; the header Retry-After says in how many seconds to try again",
	}
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		seconds := int64((wait + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		http.Error(w, fmt.Sprintf("too many wrong passwords or keys came from this address; try again in %d seconds", seconds), http.StatusTooManyRequests)
		return
	}
	apiOf(r.URL.Path).fail(w, e)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Lockout)(nil)
	_ caddy.CleanerUpper          = (*Lockout)(nil)
	_ caddyhttp.MiddlewareHandler = (*Lockout)(nil)
)
