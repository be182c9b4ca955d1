package caddymodule

import (
	"errors"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

// folders holds the folders of models of all running configurations, so that a reload neither reads them again nor lets go
// of what is loaded. The key is everything that the models in a folder are run with. The engines that a folder holds are
// in engines, where single models find them too.
var folders = caddy.NewUsagePool()

// llamaFolder is what a LlamaCPP is whose path is a folder: a provider of all models in it.
type llamaFolder struct {
	local.FolderProvider
	key  local.FolderKey
	held bool
}

// newLlamaFolder takes hold of a folder and looks at what is in it, unless somebody holds it already.
func newLlamaFolder(config local.FolderConfig, maxQueue int, maxWait time.Duration) (*llamaFolder, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	f := &llamaFolder{key: config.Key()}
	value, _, err := folders.LoadOrNew(f.key, func() (caddy.Destructor, error) {
		return local.NewFolder(f.key, holdForFolder, slog.New(currentLog{})), nil
	})
	if err != nil {
		return nil, err
	}
	f.held = true
	f.FolderProvider = local.FolderProvider{Folder: value.(*local.Folder), MaxQueue: maxQueue, MaxWait: maxWait}
	f.Folder.Open()
	return f, nil
}

// holdForFolder is a folder's local.Hold.
func holdForFolder(key local.Key) (engine *local.Engine, release func(), err error) {
	engine, err = holdEngine(key)
	if err != nil {
		return nil, nil, err
	}
	return engine, func() { _, _ = engines.Delete(key) }, nil
}

// cleanup lets go of the folder. It may be called more than once.
func (f *llamaFolder) cleanup() error {
	if !f.held {
		return nil
	}
	f.held = false
	_, err := folders.Delete(f.key)
	return err
}

// start implements starter.
func (f *llamaFolder) start() { f.Folder.Start() }

// folderConfig returns the settings for a folder. config is what is said of each model.
func (l *LlamaCPP) folderConfig(config local.Config) (local.FolderConfig, error) {
	if l.Preload {
		return local.FolderConfig{}, errors.New("preload: name the models of the folder that are to be loaded when Caddy starts")
	}
	return local.FolderConfig{
		Config: config, KeepAlive: time.Duration(l.KeepAlive), Preload: local.JoinArgs(l.PreloadModels),
	}, nil
}

// catalog returns the provider to use in l's place if l turned out to be a folder, and nil otherwise.
func (l *LlamaCPP) catalog() llmgateway.Catalog {
	if l.folder == nil {
		return nil
	}
	return l.folder
}

// Interface guards
var (
	_ llmgateway.Catalog  = (*llamaFolder)(nil)
	_ llmgateway.Reporter = (*llamaFolder)(nil)
	_ starter             = (*llamaFolder)(nil)
)
