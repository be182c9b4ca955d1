package caddymodule

import (
	"slices"
	"sync"
)

// running knows the configurations that have started and not been cleaned up: one, but while one takes the place of another.
// The admin API looks here and not at the app that its module was provisioned with, since after a reload that failed Caddy
// still asks the modules of the one that did.
var running configurations

type configurations struct {
	mu   sync.Mutex // guards apps
	apps []*App     // in the order in which they started
}

// add takes in an app that starts. It is there until remove is called.
func (c *configurations) add(a *App) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apps = append(c.apps, a)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.apps = slices.DeleteFunc(c.apps, func(other *App) bool { return other == a })
	}
}

// handlers returns the llm handlers of the configuration that is in force, which may be none.
func (c *configurations) handlers() []*Handler {
	if a := c.current(); a != nil {
		return a.handlers
	}
	return nil
}

// current returns the app that started last, or nil.
func (c *configurations) current() *App {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.apps) == 0 {
		return nil
	}
	return c.apps[len(c.apps)-1]
}
