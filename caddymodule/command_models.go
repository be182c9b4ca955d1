package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/inspect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func modelsCommand() *cobra.Command {
	var l modelLister
	cmd := &cobra.Command{
		Use:   "models [--config <path> [--adapter <name>]] [<folder or file>...]",
		Short: "Lists models: those in folders, or those that a configuration runs",
		Long: `
Lists the models in files and folders, and those that a configuration runs. Without
any, lists the folder models, or this one.

A model takes memory for its weights and for its context; the column MEMORY says how
much with that many tokens. CAN says whether it knows tools, and sees images with the
projector that lies beside it. If a gateway runs, STATE is what it says of its models:
loaded ones take memory now. The gateway is asked at its admin endpoint, at --address,
the one of the configuration, or Caddy's default.
`,
	}
	cmd.Flags().StringVarP(&l.config, "config", "c", "", "Configuration file")
	cmd.Flags().StringVarP(&l.adapter, "adapter", "a", "", "Name of config adapter to apply")
	cmd.Flags().StringVar(&l.address, "address", "", "Address of the administration listener, if different from config")
	cmd.Flags().IntVar(&l.load.NCtx, "n-ctx", 4096, "Context to estimate memory for, where no configuration says it")
	cmd.Flags().IntVar(&l.load.NParallel, "n-parallel", 1, "Requests at once, where no configuration says it")
	cmd.Flags().BoolVar(&l.json, "json", false, "Write JSON")
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = harmless(func(cmd *cobra.Command, args []string) error { return l.list(cmd.OutOrStdout(), args) })
	return cmd
}

// modelLister holds the flags of `caddy llm models`.
type modelLister struct {
	config, adapter, address string

	load local.Config // n_ctx and n_parallel only
	json bool
}

func (l *modelLister) list(w io.Writer, paths []string) error {
	var entries []inspect.Entry
	var config []byte
	if l.config != "" {
		var err error
		if config, _, _, err = caddycmd.LoadConfig(l.config, l.adapter); err != nil {
			return err
		}
		if entries, err = configuredModels(config); err != nil {
			return err
		}
	} else if len(paths) == 0 {
		paths = []string{"models"}
		if _, err := os.Stat(paths[0]); errors.Is(err, os.ErrNotExist) {
			paths = []string{"."}
		}
	}
	found, err := inspect.Find(paths...)
	if err != nil {
		return err
	}
	for _, m := range found {
		m.Estimate(l.load.Load())
		entries = append(entries, inspect.Entry{Model: m})
	}
	l.addStates(entries, config)
	switch {
	case l.json:
		return printJSON(w, slices.Concat([]inspect.Entry{}, entries)) // [] rather than null
	case len(entries) == 0:
		_, err := fmt.Fprintln(w, "There is no model. Get one with: caddy llm pull")
		return err
	default:
		return inspect.List(w, entries)
	}
}

// configuredModels returns the local models of an adapted configuration, wherever its handlers are.
func configuredModels(config []byte) ([]inspect.Entry, error) {
	providers, err := configuredProviders(config)
	if err != nil {
		return nil, err
	}
	var entries []inspect.Entry
	for _, p := range providers {
		if p.kind != "llamacpp" {
			continue
		}
		models, err := providedModels(p.config)
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", p.name, err)
		}
		for _, m := range models {
			entries = append(entries, inspect.Entry{Model: m, Provider: p.name})
		}
	}
	return entries, nil
}

// configuredProvider is a provider of some llm handler.
type configuredProvider struct {
	name, kind string
	config     json.RawMessage
}

// configuredProviders returns the providers of an adapted configuration, wherever its handlers are, each once: sites may
// import the same snippet.
func configuredProviders(config []byte) ([]configuredProvider, error) {
	var tree any
	if err := json.Unmarshal(config, &tree); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var found []configuredProvider
	var walk func(any) error
	walk = func(node any) error {
		switch node := node.(type) {
		case []any:
			for _, child := range node {
				if err := walk(child); err != nil {
					return err
				}
			}
		case map[string]any:
			providers, _ := node["providers"].(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(providers)) {
				p, _ := providers[name].(map[string]any)
				kind, _ := p["type"].(string)
				if node["handler"] != "llm" || kind == "" {
					continue
				}
				delete(p, "type") // which is not the module's own
				data, err := json.Marshal(p)
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(found, func(other configuredProvider) bool {
					return other.name == name && other.kind == kind && string(other.config) == string(data)
				}) {
					found = append(found, configuredProvider{name, kind, data})
				}
			}
			for _, key := range slices.Sorted(maps.Keys(node)) {
				if err := walk(node[key]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := walk(tree)
	return found, err
}

// providedModels returns what a provider runs, with the memory that its settings ask for, and what it does not offer of its
// folder.
func providedModels(data []byte) ([]*inspect.Model, error) {
	var l LlamaCPP
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, err
	}
	if l.unset() {
		return nil, nil
	}
	c, err := l.config()
	if err != nil {
		return nil, err
	}
	configs := []local.Config{c}
	if local.IsFolder(c.ModelPath) {
		configs = local.FolderConfig{Config: c}.Models()
	}
	var models []*inspect.Model
	for _, c := range configs {
		m, _ := inspect.Open(c.ModelPath)
		if c.MMProj != "" {
			p, _ := inspect.Open(c.MMProj)
			m.See(p)
		}
		m.Estimate(c.Load())
		models = append(models, m)
	}
	if !local.IsFolder(c.ModelPath) {
		return models, nil
	}
	found, err := local.List(c.ModelPath)
	for _, f := range found {
		if f.Problem == "" {
			continue
		}
		m, _ := inspect.Open(f.Path)
		m.Problem = f.Problem
		models = append(models, m)
	}
	return models, err
}

// adminTime is how long a running gateway is waited for; a list of files is worth more than its states.
const adminTime = 2 * time.Second

// addStates asks a running gateway which models it has loaded. Without one, states stay unknown.
func (l *modelLister) addStates(entries []inspect.Entry, config []byte) {
	address, err := caddycmd.DetermineAdminAPIAddress(l.address, config, l.config, l.adapter)
	if err != nil {
		return
	}
	known := make(chan modelStates, 1)
	go func() {
		defer close(known)
		resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, "/llm/status", nil, nil)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		var states modelStates
		if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&states) != nil {
			return
		}
		known <- states
	}()
	select {
	case states := <-known:
		for i := range entries {
			entries[i].State = states.of(entries[i])
		}
	case <-time.After(adminTime):
	}
}

// modelStates is what is looked at of a gateway's status.
type modelStates struct {
	Providers []struct {
		Name, State string
		Models      map[string]struct{ State string }
	}
	Engines []struct{ Name, State string }
}

// of returns the state of a model, or nothing if it is not known. A model of a configuration is known by its provider, since
// several may have models of one name.
func (s modelStates) of(e inspect.Entry) string {
	if e.Provider == "" {
		for _, engine := range s.Engines {
			if engine.Name == e.Name {
				return engine.State
			}
		}
		return ""
	}
	for _, p := range s.Providers {
		switch {
		case p.Name != e.Provider:
		case p.Models == nil:
			return p.State
		default:
			return p.Models[e.Name].State
		}
	}
	return ""
}
