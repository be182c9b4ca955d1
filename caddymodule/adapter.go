package caddymodule

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/settings"
)

func init() {
	caddyconfig.RegisterAdapter("llmgateway", new(Adapter))
}

// Adapter is the config adapter `llmgateway`: it reads config.yaml. What it makes of it is what the Caddyfile adapter makes of
// the Caddyfile that `caddy llm migrate` prints.
//
// Variables stay placeholders, so that no secret is in the configuration. Of a file that Caddy watches, a version that is
// wrong is logged and passed over.
type Adapter struct {
	mu   sync.Mutex // guards last
	last map[string]*watched
}

// watched is a file that was adapted in this process.
type watched struct {
	config   []byte                // of its last version that was right
	warnings []caddyconfig.Warning // about it
	wrong    []byte                // the version that was logged last
}

// Adapt implements caddyconfig.Adapter.
func (a *Adapter) Adapt(body []byte, options map[string]any) ([]byte, []caddyconfig.Warning, error) {
	filename, _ := options["filename"].(string)
	config, warnings, err := adaptSettings(body, filename)
	if filename == "" {
		return config, warnings, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.last[filename]
	switch {
	case err == nil:
		if a.last == nil {
			a.last = make(map[string]*watched)
		}
		a.last[filename] = &watched{config: config, warnings: warnings}
		return config, warnings, nil
	case known == nil:
		return nil, warnings, err
	}
	// Caddy reads a file twice in one process only to watch it, and gives up watching for good at the first version that is
	// wrong, such as one that an editor has half written.
	if !bytes.Equal(body, known.wrong) {
		known.wrong = bytes.Clone(body)
		caddy.Log().Named("adapter.llmgateway").Error("the changed configuration is wrong; the one before it stays in force",
			zap.String("file", filename), zap.Error(err))
	}
	return known.config, known.warnings, nil
}

// adaptSettings translates the text of a config.yaml.
func adaptSettings(body []byte, filename string) ([]byte, []caddyconfig.Warning, error) {
	caddyfile, warnings, err := settingsCaddyfile(body, filename)
	if err != nil {
		return nil, warnings, err
	}
	config, inner, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, nil)
	if err != nil {
		return nil, warnings, fmt.Errorf("translating %s: %w", filename, err)
	}
	return config, append(warnings, inner...), nil
}

// settingsCaddyfile returns the Caddyfile that means the same as the text of a config.yaml.
func settingsCaddyfile(body []byte, filename string) ([]byte, []caddyconfig.Warning, error) {
	if filename == "" {
		filename = "config.yaml"
	}
	s, err := settings.Parse(body, os.LookupEnv)
	if problems, ok := errors.AsType[settings.Errors](err); ok {
		var lines []string
		for _, problem := range problems {
			lines = append(lines, filename+":"+problem.String())
		}
		return nil, nil, errors.New(strings.Join(lines, "\n"))
	}
	if err != nil {
		return nil, nil, err
	}
	if s.RateLimit != nil && s.RateLimit.Enabled {
		if _, err := caddy.GetModule("http.handlers.rate_limit"); err != nil {
			problem := s.Problem("rate_limit: this Caddy was built without github.com/mholt/caddy-ratelimit; build it with `make build`, or set enabled: false here", s.RateLimit)
			return nil, nil, fmt.Errorf("%s:%v", filename, problem)
		}
	}
	var warnings []caddyconfig.Warning
	for _, problem := range s.Warnings() {
		warnings = append(warnings, caddyconfig.Warning{File: filename, Line: problem.Line, Message: problem.Message})
	}
	text, err := writeSettings(s)
	return text, warnings, err
}

// Interface guards
var _ caddyconfig.Adapter = (*Adapter)(nil)
