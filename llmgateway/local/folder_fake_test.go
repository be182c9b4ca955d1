package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// pool holds engines as the gateway's pool does.
type pool struct {
	t       *testing.T
	mu      sync.Mutex // guards what follows
	engines map[Key]*Engine
	refs    map[Key]int
	all     []*Engine
}

func newPool(t *testing.T) *pool {
	return &pool{t: t, engines: make(map[Key]*Engine), refs: make(map[Key]int)}
}

func (p *pool) hold(key Key) (*Engine, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.engines[key]
	if e == nil {
		e = NewEngine(key, memory.NewBudget(MachineMemory()), discard)
		e.timing = quick
		p.engines[key] = e
		p.all = append(p.all, e)
	}
	p.refs[key]++
	return e, func() { p.release(key) }, nil
}

func (p *pool) release(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refs[key]--
	switch {
	case p.refs[key] < 0:
		p.t.Errorf("%s was released more often than held", key.Name())
	case p.refs[key] == 0:
		_ = p.engines[key].Destruct()
		delete(p.engines, key)
		delete(p.refs, key)
	}
}

// held returns the names of the engines that somebody holds.
func (p *pool) held() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for key := range p.engines {
		names = append(names, key.Name())
	}
	slices.Sort(names)
	return names
}

// folder returns a folder that is followed quickly, with llama-servers that are this program. It ends with the test, which
// fails if anything is left.
func folder(t *testing.T, dir string, change func(*FolderConfig), flags ...string) (*FolderProvider, *pool) {
	t.Helper()
	config := FolderConfig{Config: Config{Binary: os.Args[0], ModelPath: dir, Args: JoinArgs(append([]string{"--fake"}, flags...))}}
	if change != nil {
		change(&config)
	}
	noLeaks(t)
	engines := newPool(t)
	f := NewFolder(config.Key(), engines.hold, slog.New(slog.NewTextHandler(t.Output(), nil)))
	f.pause = time.Millisecond
	f.scanner.settle = 0
	f.Open()
	t.Cleanup(func() {
		_ = f.Destruct()
		<-f.Done()
		if left := engines.held(); left != nil {
			t.Errorf("engines that are still held: %q", left)
		}
		for _, e := range engines.all {
			gone(t, e)
		}
	})
	return &FolderProvider{Folder: f, MaxQueue: 8}, engines
}

// askModel asks a model of a folder, and returns what was said.
func askModel(t *testing.T, p *FolderProvider, model, say string) (string, error) {
	t.Helper()
	req := request(t, say)
	req.Model = model
	return generate(t.Context(), p, req)
}

// offers waits until the folder offers just these models.
func offers(t *testing.T, p *FolderProvider, names ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("an offer of %q", names), func() bool { return slices.Equal(p.Models(), names) })
}

func (p *pool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

// stream begins a generation and returns what ends it, which must be whole.
func stream(t *testing.T, p *FolderProvider, model string) (finish func()) {
	t.Helper()
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var once sync.Once
		req := request(t, "300ms")
		req.Model = model
		whole := false
		for event, err := range p.Generate(context.Background(), req) {
			if err != nil {
				ended <- err
				return
			}
			once.Do(func() { close(began) })
			whole = strings.Contains(string(event.Data), `"stop"`) || whole
		}
		if !whole {
			ended <- errors.New("the answer is not whole")
		}
		close(ended)
	}()
	select {
	case <-began:
	case err := <-ended:
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
