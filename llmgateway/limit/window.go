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
	whole, exact := part(c.prev, left, per)
	if !exact {
		whole++
	}
	return c.cur + whole
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
	left, _ := part(per, room, amount)
	return per - left
}

// part returns n*of/all, rounded down, and whether that is exact. None is below 0, all is not 0, and of is not more than all,
// so that the result is not more than n, however large the product is.
func part(n, of, all int64) (quotient int64, exact bool) {
	high, low := bits.Mul64(uint64(n), uint64(of)) //nolint:gosec // G115: see above
	q, rest := bits.Div64(high, low, uint64(all))  //nolint:gosec // G115: see above
	return int64(q), rest == 0                     //nolint:gosec // G115: not more than n
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
