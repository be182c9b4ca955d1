package caddymodule

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/lockout"
)

// tokenCookie is the cookie by which a browser shows that it has logged in before.
const tokenCookie = "llm_known"

// tokenAge is how long browsers keep it. The process that gave it takes it for as long as it runs.
const tokenAge = 30 * 24 * time.Hour

// takeToken takes that cookie out of a request, so that nobody behind learns what would let them guess on.
func takeToken(header http.Header) (token string) {
	lines := header["Cookie"]
	if !strings.Contains(strings.Join(lines, ""), tokenCookie+"=") {
		return ""
	}
	header.Del("Cookie")
	for _, line := range lines {
		var others []string
		for cookie := range strings.SplitSeq(line, ";") {
			if value, ok := strings.CutPrefix(strings.TrimSpace(cookie), tokenCookie+"="); ok {
				token = value
				continue
			}
			others = append(others, cookie)
		}
		if others := strings.TrimSpace(strings.Join(others, ";")); others != "" {
			header.Add("Cookie", others)
		}
	}
	return token
}

// attempt is a request whose credentials llm_lockout lets somebody look at, and waits to hear what became of them. The zero
// value, and nil, is one that nobody waits for.
type attempt struct {
	lockout  *Lockout
	try      *lockout.Try
	replacer *caddy.Replacer
	before   string // the user, if somebody had found out already
	secure   bool
	judged   bool

	// wait is how long a request has to wait that is begun anew to be refused.
	wait time.Duration
}

type attemptKey struct{}

// attemptOf returns the attempt that a request is, or nil.
func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// user returns who Caddy says that the request is from.
func (a *attempt) user() string {
	if a.replacer == nil {
		return ""
	}
	user, _ := a.replacer.GetString("http.auth.user.id")
	return user
}

// answered tells by an answer what became of the credentials, unless llm_auth has said so. Whoever finds out who the user is
// has found them right; an answer without a user may come from somebody who did not look.
func (a *attempt) answered(status int, header http.Header) {
	if a.judged { // an answer may have been announced before
		return
	}
	switch user := a.user(); {
	case user != "" && user != a.before:
		a.judged = true
		a.try.Opened()
		if token := a.try.Token(); token != "" {
			cookie := http.Cookie{ //nolint:gosec // a Secure one would not come back where there is no TLS, which is on loopback
				Name: tokenCookie, Value: token, Path: "/", MaxAge: int(tokenAge / time.Second),
				HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode,
			}
			header.Add("Set-Cookie", cookie.String())
		}
	case status == http.StatusUnauthorized:
		a.refused()
	}
}

// refused says that the credentials were wrong.
func (a *attempt) refused() {
	if a == nil || a.try == nil {
		return
	}
	a.judged = true
	if !a.try.Refused(time.Now()) {
		return
	}
	lockoutsTotal.Inc()
	a.lockout.logger.Warn("an address is locked out after too many wrong passwords or keys",
		zap.String("client", addressOf(a.try.Client())), zap.Duration("duration", a.lockout.settings().Duration))
}

// opened says which key was right, and that nobody finds it by trying. Programs keep no cookies, so they get none.
func (a *attempt) opened(key string) {
	if a == nil || a.try == nil {
		return
	}
	a.judged = true
	a.try.Opened()
	a.try.Remember(key)
}
