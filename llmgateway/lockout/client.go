package lockout

import (
	"slices"
	"time"
)

// client is what is known of an address. Its guard's lock guards it.
type client struct {
	guesses []guess
	until   time.Time // when it may come again, if it is kept out
}

// guess is a credential that an address has tried, and that is not known to be right.
type guess struct {
	of      sum
	refused time.Time // when it was last; zero if that is not known yet
	open    int       // tries that are not decided
}

// forget drops guesses that no longer count.
func (c *client) forget(before time.Time) {
	c.guesses = slices.DeleteFunc(c.guesses, func(g guess) bool { return g.open == 0 && !g.refused.After(before) })
}

// find returns a guess, or nil if it is not known.
func (c *client) find(of sum) *guess {
	i := slices.IndexFunc(c.guesses, func(g guess) bool { return g.of == of })
	if i < 0 {
		return nil
	}
	return &c.guesses[i]
}

// add returns a guess, which may be new.
func (c *client) add(of sum) *guess {
	if known := c.find(of); known != nil {
		return known
	}
	c.guesses = append(c.guesses, guess{of: of})
	return &c.guesses[len(c.guesses)-1]
}

// wrong returns how many guesses are known to be wrong.
func (c *client) wrong() (n int) {
	for _, g := range c.guesses {
		if !g.refused.IsZero() {
			n++
		}
	}
	return n
}
