package caddymodule

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// tenant returns who sent a request, as far as a handler before this one has found out.
func tenant(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	user, _ := repl.GetString("http.auth.user.id")
	return user
}

// cacheControl reads what a client asks of the cache, as RFC 9111, section 5.2.1 says. What it does not know is ignored.
func cacheControl(values []string) (control llmgateway.CacheControl) {
	for _, value := range values {
		for directive := range strings.SplitSeq(value, ",") {
			name, argument, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-cache":
				control.NoCache = true
			case "no-store":
				control.NoStore = true
			case "max-age":
				seconds, err := strconv.ParseUint(strings.Trim(argument, `"`), 10, 31)
				if err != nil {
					continue
				}
				if seconds == 0 {
					control.NoCache = true // no answer is that young
					continue
				}
				control.MaxAge = time.Duration(seconds) * time.Second
			}
		}
	}
	return control
}
