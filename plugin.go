// Package llmgateway registers the gateway's Caddy modules when it is imported.
//
// It lets xcaddy add everything with one import path; the modules themselves live in caddymodule.
package llmgateway

import (
	_ "github.com/bytebot-llmgateway/bytebot-llmgateway/caddymodule"
)
