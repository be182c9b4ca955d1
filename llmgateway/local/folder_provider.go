package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// FolderProvider sends requests to the models in a [Folder], by name. Several may share one folder, each with its own
// waiting rooms.
type FolderProvider struct {
	// Folder is where the models are.
	Folder *Folder
	// MaxQueue is how many requests may wait for a slot of one model.
	MaxQueue int
	// MaxWait is how long a request may have to wait for its first token, as in [Provider].
	MaxWait time.Duration
}

// Generate implements llmgateway.Provider: the request's model answers.
func (p *FolderProvider) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	if model := p.Lookup(req.Model); model != nil {
		return model.Generate(ctx, req)
	}
	return func(yield func(llmgateway.Event, error) bool) {
		yield(llmgateway.Event{}, &llmgateway.Error{
			Kind: llmgateway.NoModel, Param: "model",
			Message: "the folder of models has no model of that name",
		})
	}
}

// Models implements llmgateway.Catalog.
func (p *FolderProvider) Models() []string { return slices.Clone(p.Folder.present.Load().names) }

// Lookup implements llmgateway.Catalog. Upper and lower case make a difference only between models that have no other.
// A model that is there but cannot be used is found too: its requests fail with the reason.
func (p *FolderProvider) Lookup(name string) llmgateway.Provider {
	now := p.Folder.present.Load()
	if m := now.find(name); m != nil {
		return &folderModel{Provider{Engine: m.engine, MaxQueue: p.MaxQueue, MaxWait: p.MaxWait}, p.Folder, m}
	}
	if reason, ok := now.findBroken(name); ok {
		return brokenModel(reason)
	}
	return nil
}

// Status implements llmgateway.Reporter: the folder is as good as the best of its models.
func (p *FolderProvider) Status() llmgateway.Status {
	now := p.Folder.present.Load()
	best := llmgateway.Status{State: llmgateway.StateFailed}
	order := []llmgateway.State{llmgateway.StateFailed, llmgateway.StateIdle, llmgateway.StateLoading, llmgateway.StateReady}
	for _, name := range now.names {
		if state := now.members[name].engine.Status().State; slices.Index(order, state) > slices.Index(order, best.State) {
			best.State = state
		}
	}
	switch {
	case now.problem != "":
		best.Detail = now.problem
	case len(now.names) == 0:
		best.Detail = "no usable model is in the folder"
	case best.State == llmgateway.StateFailed:
		best.Detail = "no model in the folder can be run"
	}
	if bad := len(now.broken); bad > 0 && best.State != llmgateway.StateFailed && best.Detail == "" {
		best.Detail = fmt.Sprintf("%d more cannot be used", bad)
	}
	return best
}

// States returns how each of the models is, and why other files are not offered, by their paths in the folder.
func (p *FolderProvider) States() map[string]llmgateway.Status {
	now := p.Folder.present.Load()
	all := make(map[string]llmgateway.Status, len(now.names)+len(now.broken)+len(now.others))
	for _, files := range []map[string]string{now.others, now.broken} {
		for name, reason := range files {
			all[name] = llmgateway.Status{State: llmgateway.StateFailed, Detail: reason}
		}
	}
	for name, m := range now.members {
		all[name] = m.engine.Status()
	}
	return all
}

// folderModel is one model of a folder.
type folderModel struct {
	Provider
	folder *Folder
	member *member
}

// Generate implements llmgateway.Provider. Requests may come when the folder has let go of the model's engine: it was
// replaced just now, or the configuration is gone and its connections are not. Then they hold an engine of their own.
func (m *folderModel) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for event, err := range m.Provider.Generate(ctx, req) {
			if errors.Is(err, ErrClosed) {
				m.generateLate(ctx, req, yield)
				return
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

func (m *folderModel) generateLate(ctx context.Context, req *llmgateway.Request, yield func(llmgateway.Event, error) bool) {
	key := m.member.key
	if now := m.folder.present.Load().find(m.member.name); now != nil {
		key = now.key
	}
	engine, release, err := m.folder.hold(key)
	if err != nil {
		yield(llmgateway.Event{}, err)
		return
	}
	defer release()
	late := m.Provider
	late.Engine = engine
	late.Generate(ctx, req)(yield)
}

// brokenModel is a model that is in the folder but cannot be used, for the reason that it is.
type brokenModel string

// Generate implements llmgateway.Provider.
func (b brokenModel) Generate(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		yield(llmgateway.Event{}, &llmgateway.Error{
			Kind: llmgateway.Overloaded, Message: "the local model is not available: " + string(b),
		})
	}
}

// Status implements llmgateway.Reporter.
func (b brokenModel) Status() llmgateway.Status {
	return llmgateway.Status{State: llmgateway.StateFailed, Detail: string(b)}
}

// Interface guards
var (
	_ llmgateway.Catalog  = (*FolderProvider)(nil)
	_ llmgateway.Reporter = (*FolderProvider)(nil)
	_ llmgateway.Modeler  = (*folderModel)(nil)
	_ llmgateway.Reporter = (*folderModel)(nil)
	_ llmgateway.Reporter = brokenModel("")
)
