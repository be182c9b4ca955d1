package caddymodule

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/doctor"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

// needs is what a configuration needs of its surroundings.
type needs struct {
	providers []configuredProvider
	ports     []string
	folders   []doctor.Folder
	pairs     []doctor.Pair
	storage   string
	maxMemory uint64
}

// needsOf looks through an adapted configuration.
func needsOf(data []byte) (*needs, error) {
	var config struct {
		Storage struct{ Module, Root string }
		Apps    struct {
			HTTP struct {
				Servers map[string]struct{ Listen []string }
			}
			LLM App
			TLS struct {
				Certificates struct {
					LoadFiles []doctor.Pair `json:"load_files"`
				}
			}
		}
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	n := &needs{storage: caddy.AppDataDir(), pairs: config.Apps.TLS.Certificates.LoadFiles, maxMemory: uint64(max(config.Apps.LLM.MaxMemory, 0))}
	if config.Storage.Module == "file_system" && config.Storage.Root != "" {
		n.storage = caddy.NewReplacer().ReplaceAll(config.Storage.Root, "")
	}
	var err error
	if n.providers, err = configuredProviders(data); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, s := range config.Apps.HTTP.Servers {
		for _, listen := range s.Listen {
			address, err := caddy.ParseNetworkAddress(listen)
			if err != nil || address.IsUnixNetwork() {
				continue // which validation is about
			}
			for i := range min(address.PortRangeSize(), maxPorts) {
				if port := address.JoinHostPort(i); !seen[port] {
					seen[port] = true
					n.ports = append(n.ports, port)
				}
			}
		}
	}
	slices.Sort(n.ports)
	n.folders = []doctor.Folder{{What: "for Caddy's data", Path: n.storage}}
	n.addLocal()
	return n, nil
}

// maxPorts is how many ports of a range are tried.
const maxPorts = 100

// addLocal adds what local models need.
func (n *needs) addLocal() {
	sockets := false
	for _, p := range n.providers {
		if p.kind != "llamacpp" && p.kind != "command" {
			continue
		}
		if !sockets {
			sockets = true
			n.folders = append(n.folders, doctor.Folder{What: "for sockets", Path: local.RunBase()})
		}
		var l LlamaCPP
		if p.kind != "llamacpp" || json.Unmarshal(p.config, &l) != nil || l.CacheDir == "" {
			continue
		}
		if c, err := l.config(); err == nil { // which validation is about
			n.folders = append(n.folders, doctor.Folder{What: "cache_dir of " + p.name, Path: c.CacheDir})
		}
	}
}
