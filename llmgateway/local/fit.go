package local

import "math"

// forgetting is what older measurements are worth when a new one comes.
const forgetting = 0.92

// line is the best fit of y = base + slope*x for what was measured, neither of them negative. Deviations count by what
// they are in relation to y, so that small values are fitted as well as large ones.
type line struct {
	points          int
	w, x, y, xx, xy float64
}

func (l *line) add(x, y float64) {
	if !(y > 0) || !(x >= 0) || math.IsInf(x+y, 0) {
		return
	}
	scale := y
	if at := l.at(x); l.points >= 3 && at > 0 {
		// The machine may have been busy with something else. If it has become that much slower or faster, the next ones
		// will say so too.
		y = min(max(y, at/2), 2*at)
		scale = at
	}
	l.points++
	w := 1 / (scale * scale)
	l.w = l.w*forgetting + w
	l.x = l.x*forgetting + w*x
	l.y = l.y*forgetting + w*y
	l.xx = l.xx*forgetting + w*x*x
	l.xy = l.xy*forgetting + w*x*y
}

func (l *line) known() bool { return l.points > 0 }

func (l *line) fit() (base, slope float64) {
	switch spread := l.w*l.xx - l.x*l.x; {
	case l.points == 0:
		return 0, 0
	case l.x == 0:
		return l.y / l.w, 0
	case spread > 0.01*l.w*l.xx: // otherwise all x are much the same
		slope = (l.w*l.xy - l.x*l.y) / spread
		if base = (l.y - slope*l.x) / l.w; base >= 0 && slope >= 0 {
			return base, slope
		}
	}
	return 0, l.xy / l.xx
}

func (l *line) at(x float64) float64 {
	base, slope := l.fit()
	return base + slope*x
}

// bends are how much more a token of a prompt may take for each token before it. How much it is depends on the model and
// the machine, and shows in measurements.
var bends = [...]float64{0, 1.0 / 131072, 1.0 / 32768, 1.0 / 8192, 1.0 / 2048}

// work is what a prompt amounts to, in tokens at the beginning of a prompt, for each of the bends.
type work [len(bends)]float64

// newWork returns the work of so many tokens behind so many others.
func newWork(tokens, before float64) (w work) {
	for i, bend := range bends {
		w[i] = tokens * (1 + bend*(before+tokens/2))
	}
	return w
}

// plus returns w and times o.
func (w work) plus(o work, times float64) work {
	for i := range w {
		w[i] += times * o[i]
	}
	return w
}

// curve is the best fit of the time that prompts take: a line for each of the bends, of which the one counts that has
// foretold best.
type curve struct {
	lines  [len(bends)]line
	misses [len(bends)]mean // squared, in relation to what came
}

func (c *curve) add(w work, y float64) {
	for i := range c.lines {
		l := &c.lines[i]
		if l.points >= 3 && y > 0 {
			miss := l.at(w[i])/y - 1
			c.misses[i].add(miss * miss)
		}
		l.add(w[i], y)
	}
}

func (c *curve) known() bool { return c.lines[0].known() }

// best returns the index of the line that counts: a straight one, unless another is clearly better.
func (c *curve) best() int {
	best := 0
	for i := range c.misses {
		if c.misses[i].get() < 0.8*c.misses[best].get() {
			best = i
		}
	}
	return best
}

func (c *curve) at(w work) float64 {
	best := c.best()
	return c.lines[best].at(w[best])
}

// slope returns what a token at the beginning of a prompt takes.
func (c *curve) slope() float64 {
	_, slope := c.lines[c.best()].fit()
	return slope
}

// mean is an average in which older values count less.
type mean struct{ w, sum float64 }

func (m *mean) add(x float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return
	}
	m.w = m.w*forgetting + 1
	m.sum = m.sum*forgetting + x
}

// get returns the average, or 0 before there is one.
func (m *mean) get() float64 {
	if m.w == 0 {
		return 0
	}
	return m.sum / m.w
}

// lengths tells how long answers become. Some end by themselves and others are cut, by their client or by a limit; of
// those it is only known that they would have been longer. What remains to come of an answer is taken not to depend on
// what has come.
type lengths struct{ tokens, ended, all float64 }

func (l *lengths) add(tokens float64, ended bool) {
	l.tokens = l.tokens*forgetting + tokens
	l.ended *= forgetting
	l.all = l.all*forgetting + 1
	if ended {
		l.ended++
	}
}

// rest returns how many tokens are still to come of an answer that may have at most that many more; 0 is no bound.
func (l *lengths) rest(most float64) (tokens float64, known bool) {
	switch {
	case l.ended < 0.01 && most > 0:
		return most, true
	case l.all == 0:
		return 0, false
	case l.ended < 0.01:
		return l.tokens / l.all, true
	}
	usual := l.tokens / l.ended
	if most == 0 {
		return usual, true
	}
	return usual * (1 - math.Exp(-most/usual)), true
}
