// Command caddy is Caddy with the gateway and caddy-ratelimit compiled in.
//
// It is the same program that xcaddy builds from xcaddy.json, for those who prefer plain `go build`.
package main

import (
	_ "github.com/mholt/caddy-ratelimit"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/bytebot-llmgateway/bytebot-llmgateway"
)

func main() {
	caddycmd.Main()
}
