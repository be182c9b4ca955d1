package memory

import (
	"cmp"
	"slices"
	"time"
)

// schedule grants claims, and asks engines to go where claims need their memory. It is called whenever anything changes,
// and decides everything anew, so that nobody has to go for a claim that has been given up. mu is held.
func (b *Budget) schedule() {
	p := plan{now: time.Now(), max: b.max()}
	asked := make(map[*Claim]bool)
	for _, c := range b.claims {
		if !c.held {
			continue
		}
		p.used += c.bytes
		if c.gone {
			continue
		}
		p.staying += c.bytes
		p.holders = append(p.holders, c)
		asked[c] = c.leaving
		c.leaving = false
	}
	p.shrink(asked)
	for _, c := range waiting(b.claims) {
		p.serve(c, asked)
	}
	for c, before := range asked {
		if c.leaving != before {
			select {
			case c.told <- struct{}{}:
			default: // it will look anyway
			}
		}
	}
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if !p.wake.IsZero() {
		b.timer = time.AfterFunc(p.wake.Sub(p.now), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.schedule()
		})
	}
}

// waiting returns the claims that may be granted, in the order in which they are served: those for which somebody waits,
// then the others. A Gentle one waits until the sizes of those before it are known, so that preloading keeps its order.
func waiting(claims []*Claim) []*Claim {
	var wanted, others []*Claim
	unknown := false
	for _, c := range claims {
		switch {
		case c.manner == Gentle && !c.sized && c.err == nil:
			unknown = true
		case !c.waits():
		case c.requests > 0:
			wanted = append(wanted, c)
		case c.manner != Gentle || !unknown:
			others = append(others, c)
		}
	}
	return append(wanted, others...)
}

// plan is what one schedule has decided so far.
type plan struct {
	now      time.Time
	max      uint64
	holders  []*Claim // that have memory and could keep it
	used     uint64   // by all that have memory
	staying  uint64   // of that, by those that are not to go
	promised uint64   // to claims whose memory is not free yet
	wake     time.Time
}

// shrink asks idle engines to go if there is less memory than they have.
func (p *plan) shrink(asked map[*Claim]bool) {
	if p.staying <= p.max {
		return
	}
	over := p.staying - p.max
	var idle []*Claim
	for _, c := range p.holders {
		if c.requests == 0 {
			idle = append(idle, c)
		}
	}
	slices.SortStableFunc(idle, byUse)
	for _, c := range idle {
		if over == 0 {
			return
		}
		p.dismiss(c, true)
		over -= min(over, c.bytes)
	}
}

// serve finds memory for a claim: what is free and promised to nobody before it, and else what others have.
func (p *plan) serve(c *Claim, asked map[*Claim]bool) {
	if c.bytes > p.max {
		c.decide(&TooLargeError{Bytes: c.bytes, Max: p.max})
		return
	}
	pushy := c.manner == Eager || c.manner == Gentle && c.requests > 0
	want := p.staying + p.promised + c.bytes
	switch {
	case want <= p.max && p.used+c.bytes <= p.max:
		c.decide(nil)
		p.used += c.bytes
		p.staying += c.bytes
		p.holders = append(p.holders, c)
	case c.manner == Meek:
		c.decide(errCrowded)
	case want <= p.max: // once those have ended that are on their way out
		p.promised += c.bytes
	case pushy && p.makeRoom(c, want-p.max, asked) || c.requests > 0:
		p.promised += c.bytes
	}
}

// makeRoom decides who goes for a claim, if there are enough who can. If some of them must be let be for now, all stay, and
// the claim waits.
func (p *plan) makeRoom(c *Claim, over uint64, asked map[*Claim]bool) bool {
	victims := p.victims(c, over, asked)
	now := true
	for _, v := range victims {
		if p.hardness(c, v) == protected {
			now = false
			if v.ready && (p.wake.IsZero() || v.settled.Before(p.wake)) {
				p.wake = v.settled
			}
		}
	}
	for _, v := range victims {
		p.dismiss(v, now)
	}
	return len(victims) > 0
}

// dismiss reckons that a holder will go, and asks it to if now is true.
func (p *plan) dismiss(c *Claim, now bool) {
	c.leaving = now
	p.staying -= c.bytes
	p.holders = slices.DeleteFunc(p.holders, func(other *Claim) bool { return other == c })
}

// hardness is how hard it is to send a holder away for the sake of a claim.
type hardness int

const (
	// unused holders have no request.
	unused hardness = iota
	// settled holders have requests and have served for a while: they finish what runs.
	settled
	// protected holders have requests and are loading, or have only just begun to serve.
	protected
	// untouchable holders stay.
	untouchable
)

func (p *plan) hardness(c, holder *Claim) hardness {
	switch {
	case holder.requests == 0 && (holder.ready || c.requests > 0):
		return unused
	case c.requests == 0:
		// Nobody waits for c. It does not end what somebody uses, nor another's load.
		return untouchable
	case holder.ready && !p.now.Before(holder.settled):
		return settled
	default:
		return protected
	}
}

// victims returns the holders that have to go so that over bytes become free, and none if that cannot be.
func (p *plan) victims(c *Claim, over uint64, asked map[*Claim]bool) []*Claim {
	var victims []*Claim
	for _, holder := range p.holders {
		if p.hardness(c, holder) != untouchable {
			victims = append(victims, holder)
		}
	}
	slices.SortStableFunc(victims, func(a, b *Claim) int {
		ha, hb := p.hardness(c, a), p.hardness(c, b)
		if ha != hb {
			return cmp.Compare(ha, hb)
		}
		if asked[a] != asked[b] { // who is on the way out already goes on
			if asked[a] {
				return -1
			}
			return 1
		}
		if ha == unused {
			return byUse(a, b)
		}
		return a.settled.Compare(b.settled)
	})
	var sum uint64
	for i, v := range victims {
		if sum += v.bytes; sum < over {
			continue
		}
		victims = victims[:i+1]
		// A large one at the end may have made smaller ones before it unnecessary.
		for j := i - 1; j >= 0; j-- {
			if v := victims[j]; sum-v.bytes >= over {
				sum -= v.bytes
				victims = slices.Delete(victims, j, j+1)
			}
		}
		return victims
	}
	return nil
}

// byUse orders the least recently used first.
func byUse(a, b *Claim) int { return a.used.Compare(b.used) }
