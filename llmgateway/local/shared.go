package local

import (
	"errors"
	"sync"
	"sync/atomic"
)

// ErrClosed means that an engine was asked for after its last holder had let it go.
var ErrClosed = errors.New("the engine is closed")

// Shared is a resource held by configurations, all of them through one reference that a pool has, and by requests.
// It is freed once, by whoever lets go last, so that unloading a configuration never ends a generation.
type Shared struct {
	refs atomic.Int64
	free func()
}

// NewShared returns a Shared with one reference: the pool's own. free must not block.
func NewShared(free func()) *Shared {
	s := &Shared{free: free}
	s.refs.Store(1)
	return s
}

// Acquire pins the resource until release is called, once or more often.
func (s *Shared) Acquire() (release func(), err error) {
	for {
		n := s.refs.Load()
		if n == 0 {
			return nil, ErrClosed
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return sync.OnceFunc(s.release), nil
		}
	}
}

// Destruct drops the pool's reference. It does not wait for requests.
func (s *Shared) Destruct() error {
	s.release()
	return nil
}

func (s *Shared) release() {
	if s.refs.Add(-1) == 0 {
		s.free()
	}
}
