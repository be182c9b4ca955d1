package local

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FolderConfig is how the models in a folder are run. It is comparable.
type FolderConfig struct {
	// Config is for each of the models. ModelPath is the folder, and MMProj is empty: projectors lie beside their models.
	Config
	// KeepAlive is how long a model stays loaded without requests; 0 is for ever.
	KeepAlive time.Duration
	// Preload names the models that are loaded as soon as they are there, made with [JoinArgs].
	Preload string
}

// IsFolder reports whether a path means a folder of models: it ends in a slash, or a folder is there.
func IsFolder(path string) bool {
	if path != "" && os.IsPathSeparator(path[len(path)-1]) {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Validate reports what is wrong with c, without looking at any file.
func (c FolderConfig) Validate() error {
	if c.MMProj != "" {
		return fmt.Errorf("mmproj is for one model; in a folder of models, projectors are found beside them")
	}
	return c.Config.Validate()
}

// Models returns what each model in the folder is run with, for those who want to know what there is without running it.
func (c FolderConfig) Models() []Config {
	each := c.Config.Key().Config
	s := scanner{dir: each.ModelPath}
	files, _ := s.scan(time.Now())
	var models []Config
	for _, model := range takeInventory(s.dir, files).models {
		each.ModelPath, each.MMProj = model.file.path, model.projector.path
		models = append(models, each)
	}
	return models
}

// FolderKey identifies a [Folder]. It is comparable.
type FolderKey struct {
	each      Key // without a model
	keepAlive time.Duration
	preload   string
}

// Key returns what c means now.
func (c FolderConfig) Key() FolderKey {
	each := c.Config.Key()
	each.model = fileID{} // a folder changes with each file in it
	return FolderKey{each, c.KeepAlive, c.Preload}
}

// Hold takes a reference to the engine for a key, which lasts until release is called, once.
type Hold func(Key) (engine *Engine, release func(), err error)

// Folder holds an engine for each model in a folder and in the folders in it, and follows what happens there: a model that
// appears is offered, one that goes is let go of, so that its engine ends when its last request has. One that is replaced
// has both happen to it.
//
// A folder is looked at again and again instead of being watched: a file that is written, a link's target and a network
// drive tell nobody that they have changed.
//
// Configurations hold a Folder through a pool, whose last holder calls [Folder.Destruct].
type Folder struct {
	key    FolderKey
	hold   Hold
	logger *slog.Logger
	pause  time.Duration // between two looks

	looking sync.Mutex // guards scanner
	scanner scanner
	looked  atomic.Bool

	// closing is closed when the last holder lets go, done when nothing is left after that.
	closing, done chan struct{}

	mu      sync.Mutex // guards what follows, and changes of present
	started bool
	closed  bool

	present atomic.Pointer[contents]
}

// contents is what is in a folder. It does not change.
type contents struct {
	names          []string // of models, sorted
	members        map[string]*member
	folded         map[string]*member // by name in lower case; nil if there are several
	broken, others map[string]string  // as in inventory
	problem        string             // of the folder itself
}

// member is a model and the engine that is held for it.
type member struct {
	name     string
	key      Key
	engine   *Engine
	release  func()
	withdraw func() // what was asked of the engine; nil before the folder is started
}

const (
	folderPause = time.Second
	// folderSettle is short enough not to be noticed after a copy, and longer than downloads pause.
	folderSettle = 2 * time.Second
)

// NewFolder returns a folder that is held once. It has not been looked at yet.
func NewFolder(key FolderKey, hold Hold, logger *slog.Logger) *Folder {
	f := &Folder{
		key: key, hold: hold, logger: logger, pause: folderPause,
		scanner: scanner{dir: key.each.ModelPath, settle: folderSettle},
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	f.present.Store(&contents{})
	return f
}

// Open looks at the folder unless that was done before. It reads the headers of the models and starts nothing.
func (f *Folder) Open() {
	if f.looked.Load() {
		return // without waiting for a look that is on its way: the drive may hang
	}
	f.looking.Lock()
	defer f.looking.Unlock()
	if !f.looked.Load() {
		f.look()
	}
}

// Start begins to follow the folder, and loads what is to be preloaded. Further calls do nothing.
func (f *Folder) Start() {
	f.Open()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.started || f.closed {
		return
	}
	f.started = true
	now := f.present.Load()
	for _, m := range now.members {
		m.withdraw = m.engine.KeepAlive(f.key.keepAlive)
	}
	for _, name := range f.preloads() { // in the order that was written: there may not be memory for all
		if m := now.members[name]; m != nil {
			m.engine.Preload()
		} else {
			f.logger.Warn("model to preload is missing", "model", name)
		}
	}
	go f.follow()
}

// Destruct lets go of all engines on behalf of all configurations. It returns at once.
func (f *Folder) Destruct() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	close(f.closing)
	for _, m := range f.present.Load().members {
		m.letGo()
	}
	if !f.started {
		close(f.done)
	}
	return nil
}

// Done is closed when the folder has been let go of and is not looked at any more.
func (f *Folder) Done() <-chan struct{} { return f.done }

// follow looks at the folder until it is let go of.
func (f *Folder) follow() {
	defer close(f.done)
	for pause := f.pause; ; {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-f.closing:
			timer.Stop()
			return
		}
		began := time.Now()
		f.looking.Lock()
		f.look()
		f.looking.Unlock()
		pause = max(f.pause, 20*time.Since(began)) // of a slow drive
	}
}

// look takes in what is in the folder now. looking is held.
func (f *Folder) look() {
	files, err := f.scanner.scan(time.Now())
	f.apply(takeInventory(f.scanner.dir, files), err)
	f.looked.Store(true)
}

// apply makes the inventory what the folder offers.
func (f *Folder) apply(inv inventory, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	before := f.present.Load()
	now := &contents{
		members: make(map[string]*member, len(inv.models)), folded: make(map[string]*member, len(inv.models)),
		broken: inv.broken, others: inv.others, problem: problem(err),
	}
	for _, model := range inv.models {
		m, err := f.member(model, before.members[model.name])
		if err != nil {
			now.broken[model.name] = "its engine could not be made"
			continue
		}
		now.names = append(now.names, m.name)
		now.members[m.name] = m
		lower := strings.ToLower(m.name)
		if _, several := now.folded[lower]; several {
			m = nil
		}
		now.folded[lower] = m
	}
	f.present.Store(now)
	for name, m := range before.members {
		if now.members[name] != m {
			m.letGo()
		}
	}
	f.logChanges(before, now)
}

// member returns the member for a model, which is the one that there was before if nothing changed. mu is held.
func (f *Folder) member(model item, before *member) (*member, error) {
	key := f.key.each
	key.ModelPath, key.model = model.file.path, model.id
	key.MMProj, key.mmproj = model.projector.path, model.projector.id
	if before != nil && before.key == key {
		return before, nil
	}
	engine, release, err := f.hold(key)
	if err != nil {
		return nil, err
	}
	m := &member{name: model.name, key: key, engine: engine, release: release}
	if f.started {
		m.withdraw = engine.KeepAlive(f.key.keepAlive)
		if slices.Contains(f.preloads(), m.name) {
			engine.Preload()
		}
	}
	return m, nil
}

func (f *Folder) preloads() []string {
	if f.key.preload == "" {
		return nil
	}
	return strings.Split(f.key.preload, argSep)
}

// letGo gives the engine back. Requests that are running keep it.
func (m *member) letGo() {
	if m.withdraw != nil {
		m.withdraw()
	}
	m.release()
}

// logChanges tells what is new. mu is held. What is there to begin with is no news.
func (f *Folder) logChanges(before, now *contents) {
	if !f.started {
		return
	}
	for _, name := range now.names {
		switch m := before.members[name]; {
		case m == nil:
			f.logger.Info("model appeared", "model", name)
		case m != now.members[name]:
			f.logger.Info("model changed", "model", name)
		}
	}
	for _, name := range before.names {
		if now.members[name] == nil {
			f.logger.Info("model went", "model", name, "reason", now.broken[name])
		}
	}
	if now.problem != before.problem {
		f.logger.Warn("folder of models changed", "detail", now.problem)
	}
}

// find returns the member of that name, or the only one whose name differs by case.
func (c *contents) find(name string) *member {
	if m, ok := c.members[name]; ok {
		return m
	}
	return c.folded[strings.ToLower(name)]
}

// findBroken returns why the model of that name cannot be used, or the only one whose name differs by case.
func (c *contents) findBroken(name string) (reason string, ok bool) {
	if reason, ok := c.broken[name]; ok {
		return reason, true
	}
	for other, why := range c.broken {
		if strings.EqualFold(other, name) {
			if ok {
				return "", false
			}
			reason, ok = why, true
		}
	}
	return reason, ok
}

// problem says what is wrong with a folder that could not be read.
func problem(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return "the folder is missing"
	case errors.Is(err, fs.ErrPermission):
		return "the folder, or one in it, may not be read"
	case errors.Is(err, errNoFolder):
		return "the path leads to no folder"
	case errors.Is(err, errTooMuch):
		return err.Error()
	default:
		return "the folder, or one in it, could not be read"
	}
}

// Interface guards
var _ interface{ Destruct() error } = (*Folder)(nil)
