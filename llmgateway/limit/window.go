package limit

import (
	"math/bits"
	"time"
)

// periodAt returns the number of the period that a time lies in.
func (w Window) periodAt(t time.Time) int64 { return t.UnixNano() / int64(w.Per) }

// elapsed returns how much of a period has passed at a time. Another gateway's clock may have begun it earlier.
func (c count) elapsed(w Window, t time.Time) int64 {
	return max(0, t.UnixNano()-c.period*int64(w.Per))
}

// roll goes on to a period, unless the count is there already.
func (c *count) roll(period int64) {
	switch {
	case period <= c.period:
	case period == c.period+1:
		c.period, c.prev, c.cur = period, c.cur, 0
	default:
		*c = count{period: period}
	}
}

// add counts n for a period; what lies further back than the last counts no more.
func (c *count) add(period, n int64) {
	c.roll(period)
	switch period {
	case c.period:
		c.cur += n
	case c.period - 1:
		c.prev += n
	}
}

// used returns how much counts at a time within the count's period, rounded up.
func (c count) used(w Window, t time.Time) int64 {
	per := int64(w.Per)
	left := max(0, per-c.elapsed(w, t))
	high, low := bits.Mul64(uint64(c.prev), uint64(left))
	whole, rest := bits.Div64(high, low, uint64(per)) // left is not more than per, so whole is not more than prev
	if rest > 0 {
		whole++
	}
	return c.cur + int64(whole)
}

// wait returns how long it takes from a time until need fits into the window, if nobody else takes anything. need is not
// more than the window's maximum.
func (c count) wait(w Window, need int64, t time.Time) time.Duration {
	per, elapsed := int64(w.Per), c.elapsed(w, t)
	if room := w.Max - need - c.cur; room >= 0 {
		return time.Duration(max(0, fades(c.prev, room, per)-elapsed))
	}
	return time.Duration(max(0, per-elapsed) + fades(c.cur, w.Max-need, per))
}

// fades returns how far into the next period so much of an amount has faded that it fits into a room.
func fades(amount, room, per int64) int64 {
	if amount <= room {
		return 0
	}
	high, low := bits.Mul64(uint64(room), uint64(per))
	left, _ := bits.Div64(high, low, uint64(amount)) // room is less than the amount, so left is less than per
	return per - int64(left)
}

// reset returns how long it takes until nothing counts any more.
func (c count) reset(w Window, t time.Time) time.Duration {
	left := max(0, int64(w.Per)-c.elapsed(w, t))
	switch {
	case c.cur > 0:
		return time.Duration(left) + w.Per
	case c.prev > 0:
		return time.Duration(left)
	default:
		return 0
	}
}
