package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/doctor"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func doctorCommand() *cobra.Command {
	var d examination
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [--config <path> [--adapter <name>]] [--json]",
		Short: "Finds out what keeps a gateway from working, and says how to mend it",
		Long: `
Looks at everything that a configuration needs: whether it is valid; whether remote
providers answer and take their keys (they are asked for their list of models, or what
they know of the key, which costs nothing); model files, and whether they fit into memory; ports, folders,
certificates and clocks; and llama-server. Nothing is started or changed, and no key
is printed.

Without --config it takes the Caddyfile in this folder. Variables that the
configuration needs must be set, as for the gateway. The exit code is not zero if
something does not work.
`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&d.config, "config", "c", "", "Configuration file")
	cmd.Flags().StringVarP(&d.adapter, "adapter", "a", "", "Name of config adapter to apply")
	cmd.Flags().StringVar(&d.address, "address", "", "Address of the administration listener, if different from config")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Write JSON")
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = harmless(func(cmd *cobra.Command, _ []string) error {
		report := doctor.NewReport(d.findings(cmd.Context()))
		var err error
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			err = report.Write(cmd.OutOrStdout())
		}
		if n := report.Count(doctor.Failure); n > 0 && err == nil {
			return fmt.Errorf("%d things do not work, see above", n)
		}
		return err
	})
	return cmd
}

// examination holds the flags of `caddy llm doctor`.
type examination struct{ config, adapter, address string }

// findings looks at everything.
func (d *examination) findings(ctx context.Context) []doctor.Finding {
	data, file, adapter, err := caddycmd.LoadConfig(d.config, d.adapter)
	subject := filepath.Base(file)
	if err != nil {
		return []doctor.Finding{{
			Area: "configuration", Subject: filepath.Base(d.config), Verdict: doctor.Failure, Detail: err.Error(),
			Advice: "correct the file; everything else depends on it",
		}}
	}
	if data == nil {
		return []doctor.Finding{{
			Area: "configuration", Verdict: doctor.Failure, Detail: "there is no Caddyfile in this folder", Advice: "name the file with --config",
		}}
	}
	findings := []doctor.Finding{{Area: "configuration", Subject: subject, Verdict: doctor.OK, Detail: "is valid"}}
	config := new(caddy.Config)
	if err = caddy.StrictUnmarshalJSON(data, config); err == nil {
		err = caddy.Validate(config)
	}
	if err != nil {
		findings[0] = doctor.Finding{
			Area: "configuration", Subject: subject, Verdict: doctor.Failure, Detail: err.Error(), Advice: "correct the file; a gateway does not start with it",
		}
	}
	needs, err := needsOf(data)
	if err != nil {
		return findings // a configuration of such a shape is not valid
	}
	remotes, err := needs.remotes()
	if err != nil && findings[0].Verdict == doctor.OK {
		findings = append(findings, doctor.Finding{Area: "provider", Verdict: doctor.Failure, Detail: err.Error(), Advice: "correct the provider's block"})
	}
	running := d.running(data, file, adapter)
	findings = append(findings, doctor.Remotes(ctx, remotes)...)
	findings = append(findings, needs.models(data)...)
	findings = append(findings, needs.servers(ctx)...)
	findings = append(findings, doctor.Ports(ctx, needs.ports, running)...)
	findings = append(findings, doctor.Folders(needs.folders)...)
	findings = append(findings, doctor.Pairs(needs.pairs, time.Now())...)
	return append(findings, doctor.Managed(filepath.Join(needs.storage, "certificates"), running, time.Now())...)
}

// running reports whether a gateway answers at the admin endpoint.
func (d *examination) running(config []byte, file, adapter string) bool {
	address, err := caddycmd.DetermineAdminAPIAddress(d.address, config, file, adapter)
	if err != nil {
		return false
	}
	answered := make(chan bool, 1)
	go func() {
		resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, "/llm/memory", nil, nil)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
			_ = resp.Body.Close()
		}
		answered <- err == nil
	}()
	select {
	case running := <-answered:
		return running
	case <-time.After(adminTime):
		return false
	}
}

// remotes provisions the remote providers, each once.
func (n *needs) remotes() (remotes []doctor.Remote, err error) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	for _, p := range n.providers {
		if p.kind == "llamacpp" || p.kind == "command" {
			continue
		}
		guest, failed := ctx.LoadModuleByID("llm.providers."+p.kind, p.config)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("provider %s: %w", p.name, failed))
			continue
		}
		if r, ok := guest.(remoteProvider); ok {
			remote := doctor.Remote{Name: p.name, Client: r.remote()}
			if k, ok := guest.(interface{ keyURL() *url.URL }); ok {
				remote.Key = k.keyURL()
			}
			if status := llmgateway.StatusOf(r); status.State == llmgateway.StateDisabled {
				remote.Disabled = status.Detail
			}
			remotes = append(remotes, remote)
		}
	}
	return remotes, err
}

// models looks at the files of the local models.
func (n *needs) models(config []byte) []doctor.Finding {
	entries, err := configuredModels(config)
	machine := local.MachineMemory()
	limit := n.maxMemory
	if limit == 0 {
		limit = budget().Report().MaxBytes
	}
	var findings []doctor.Finding
	for _, p := range n.providers {
		var l LlamaCPP
		if p.kind == "llamacpp" && json.Unmarshal(p.config, &l) == nil && l.unset() {
			findings = append(findings, doctor.Finding{
				Area: "model", Subject: p.name, Verdict: doctor.Warning, Detail: "switched off: " + placeholderOnly(l.Path) + " is empty",
				Advice: "set the variable to a GGUF file, or remove the provider",
			})
		}
	}
	findings = append(findings, doctor.Models(entries, limit, machine)...)
	if err != nil {
		findings = append(findings, doctor.Finding{Area: "model", Verdict: doctor.Failure, Detail: err.Error(), Advice: "correct the provider's block"})
	}
	return findings
}

// servers looks at the programs that run local models.
func (n *needs) servers(ctx context.Context) (findings []doctor.Finding) {
	seen := make(map[string]bool)
	for _, p := range n.providers {
		var l struct {
			LlamaServer string `json:"llama_server"`
		}
		if p.kind != "llamacpp" || json.Unmarshal(p.config, &l) != nil {
			continue
		}
		path := caddy.NewReplacer().ReplaceAll(l.LlamaServer, "")
		if !seen[path] {
			seen[path] = true
			findings = append(findings, doctor.Server(ctx, path))
		}
	}
	return findings
}
