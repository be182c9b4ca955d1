package caddymodule

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/settings"
)

//go:embed adapter.caddyfile.tmpl
var settingsTemplateText string

// settingsTemplate is the Caddyfile that settings stand for. Braces are the Caddyfile's own.
var settingsTemplate = template.Must(template.New("Caddyfile").Delims("[[", "]]").Funcs(template.FuncMap{
	"addresses": addresses, "module": module, "params": params, "target": target, "upper": strings.ToUpper,
	"word":         func(text any) string { return quoteWord(fmt.Sprint(text)) },
	"limited":      func(s *settings.Settings) bool { return s.RateLimit != nil && s.RateLimit.Enabled },
	"cached":       func(s *settings.Settings) bool { return s.Cache != nil && s.Cache.Enabled },
	"milliseconds": func(n int) string { return shortDuration(time.Duration(n) * time.Millisecond) },
	"seconds":      func(n int) string { return shortDuration(time.Duration(n) * time.Second) },
}).Parse(settingsTemplateText))

// writeSettings returns the Caddyfile for settings. Caddy's formatter has nothing to change in it.
func writeSettings(s *settings.Settings) ([]byte, error) {
	var b bytes.Buffer
	err := settingsTemplate.Execute(&b, s)
	return b.Bytes(), err
}

// addresses returns the addresses of the gateway's site.
func addresses(s settings.Server) string {
	port := strconv.Itoa(s.Port)
	if !s.Loopback() {
		return "http://:" + port
	}
	names := "http://localhost:" + port + ", http://127.0.0.1:" + port
	if addr, err := netip.ParseAddr(s.Host); err == nil && addr.String() != "127.0.0.1" {
		names += ", http://" + net.JoinHostPort(addr.String(), port)
	}
	return names
}

// module returns the name of the module for a service.
func module(p *settings.Provider) string {
	if p.Type == settings.OpenAICompatible {
		return "openai"
	}
	return p.Type
}

// params returns how a provider runs its model.
func params(p *settings.Provider) *settings.Params {
	if p.Params == nil {
		return settings.DefaultParams()
	}
	return p.Params
}

// target returns a provider and its model as `to` has them.
func target(p *settings.Provider) string {
	if p.Local() {
		return p.Name
	}
	return quoteWord(p.Name + "/" + string(p.Model))
}

// quoteWord makes one word of a text. No text has a line break or a backquote; settings refuse them.
func quoteWord(text string) string {
	if text == "" || plainWord.MatchString(text) {
		return text
	}
	return "`" + text + "`"
}

// plainWord matches what means nothing else to a Caddyfile and does not end a word.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9{}./:_@+~,=%$-]+$`)

// shortDuration writes 1h for 1h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if short, ok := strings.CutSuffix(text, zero); ok {
			text = short + zero[:1]
		}
	}
	return text
}
