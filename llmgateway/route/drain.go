package route

import (
	"sync/atomic"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Drain takes targets out of service by hand: while it has begun, they get no new requests, and those that they have go on.
// The zero value has not begun. Its methods may be called from many goroutines at once; a nil Drain never begins.
type Drain struct {
	since atomic.Pointer[time.Time] // nil while it has not begun
}

// Begin takes the targets out of service. It changes nothing if they are.
func (d *Drain) Begin() {
	now := time.Now()
	d.since.CompareAndSwap(nil, &now)
}

// End puts them into service again.
func (d *Drain) End() { d.since.Store(nil) }

// Since returns when the targets were taken out of service, or zero if they are in service.
func (d *Drain) Since() time.Time {
	if d == nil {
		return time.Time{}
	}
	if since := d.since.Load(); since != nil {
		return *since
	}
	return time.Time{}
}

// errDrained is why a drained target is not asked.
var errDrained = &llmgateway.Error{Kind: llmgateway.Overloaded, Message: "drained: taken out of service by an operator"}
