package lockout

import (
	"crypto/subtle"
	"net/netip"
	"time"
)

// Try is a request whose credentials are about to be looked at. Whoever has it says what became of it with
// [Try.Opened] or [Try.Refused], of which the first counts, and in any case with [Try.End].
type Try struct {
	guard    *Guard
	client   netip.Prefix
	shown    []credential // what may be looked at
	hasToken bool
	guesses  []sum // what counts as wrong until it is known to be right; none if it was known before
	decided  bool  // guarded by the guard's lock
}

// credential is one that came from an address, and what it is called: where it has opened, and where it is a guess. Hashing
// takes a while, and so is done once, and while nobody waits for it.
type credential struct {
	text         string
	known, guess sum
}

// busy is how long an address has to wait while as many guesses of its as may be wrong are still being looked at.
const busy = time.Second

// Admit asks whether the credentials that came from an address may be looked at. If not, it returns how long to wait. token
// is what [Try.Token] gave to whoever asks, if anything. There must be a credential.
//
// If it returns both a try and how long to wait, nothing but the try's Credentials may be looked at, which are those that
// [Try.Remember] was told of: whatever comes beside a key that is known is as little known as if it came alone.
//
// One that is being looked at counts as wrong until it is known not to be, so that nobody gains by guessing all at once. The
// same one counts once, however often it comes: a program that goes on with an old key guesses nothing.
func (g *Guard) Admit(from netip.Addr, credentials []string, token string, now time.Time) (*Try, time.Duration) {
	if len(credentials) > g.settings.Attempts { // it would take long to hash them all
		return nil, g.settings.Duration
	}
	t := &Try{guard: g, client: Client(from)}
	for _, text := range credentials {
		t.shown = append(t.shown, credential{text, g.sum("known", t.client.String(), text), g.sum("guess", text)})
	}
	t.hasToken = token != "" && len(credentials) == 1 &&
		subtle.ConstantTimeCompare([]byte(token), []byte(g.token(credentials[0]))) == 1
	if t.hasToken {
		return t, 0
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	var known []credential
	for _, c := range t.shown {
		if _, ok := g.known.GetIfPresent(c.known); ok {
			known = append(known, c)
			continue
		}
		t.guesses = append(t.guesses, c.guess)
	}
	if len(t.guesses) == 0 {
		return t, 0
	}
	wait := g.open(t, now)
	if wait == 0 {
		return t, 0
	}
	if len(known) == 0 {
		return nil, wait
	}
	t.shown, t.guesses = known, nil
	return t, wait
}

// open counts a try's guesses as being looked at, or returns how long to wait until that can be. The lock is held.
func (g *Guard) open(t *Try, now time.Time) (wait time.Duration) {
	c := g.client(t.client)
	if wait := c.until.Sub(now); wait > 0 {
		return wait
	}
	c.forget(now.Add(-g.settings.Window))
	before := len(c.guesses)
	for _, s := range t.guesses {
		c.add(s)
	}
	if len(c.guesses) > g.settings.Attempts {
		c.guesses = c.guesses[:before]
		return busy
	}
	for _, s := range t.guesses {
		c.find(s).open++
	}
	return 0
}

// client returns what is known of an address, which is nothing if it is new. The lock is held.
func (g *Guard) client(of netip.Prefix) *client {
	c, ok := g.clients.GetIfPresent(of)
	if !ok {
		c = new(client)
		g.clients.Set(of, c)
	}
	return c
}

// Client is the address that the request came from, or its network.
func (t *Try) Client() netip.Prefix { return t.client }

// Credentials are what may be looked at.
func (t *Try) Credentials() []string {
	all := make([]string, len(t.shown))
	for i, c := range t.shown {
		all[i] = c.text
	}
	return all
}

// Refused says that the credentials were wrong. It reports whether the address is kept out from now on for that.
func (t *Try) Refused(now time.Time) bool {
	g := t.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.decided {
		return false
	}
	t.decided = true
	for _, shown := range t.shown { // some may have been right once
		g.known.Invalidate(shown.known)
	}
	c := g.client(t.client)
	t.close(c)
	if c.until.After(now) {
		return false
	}
	for _, shown := range t.shown {
		c.add(shown.guess).refused = now
	}
	c.forget(now.Add(-g.settings.Window))
	if c.wrong() < g.settings.Attempts {
		return false
	}
	*c = client{until: now.Add(g.settings.Duration)}
	return true
}

// Opened says that the credentials were right. What else came from the address counts as before.
func (t *Try) Opened() {
	t.settle(func(c *client) {
		// Of several, nobody says which one was right. A wrong one is not made right by one beside it.
		if len(t.guesses) != 1 {
			return
		}
		if g := c.find(t.guesses[0]); g != nil {
			g.refused = time.Time{}
		}
	})
}

// End says that nobody looks at the credentials any more. Unless something else was said before, they count as if they
// had not come.
func (t *Try) End() { t.settle(func(*client) {}) }

// settle decides a try for which nobody is kept out.
func (t *Try) settle(how func(*client)) {
	g := t.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.decided {
		return
	}
	t.decided = true
	if len(t.guesses) == 0 {
		return
	}
	c := g.client(t.client)
	t.close(c)
	how(c)
	c.forget(time.Time{})
	if len(c.guesses) == 0 && c.until.IsZero() {
		g.clients.Invalidate(t.client)
	}
}

// close takes the try out of the guesses that it was counted with. They may be gone.
func (t *Try) close(c *client) {
	for _, s := range t.guesses {
		if g := c.find(s); g != nil {
			g.open = max(g.open-1, 0)
		}
	}
}

// Remember lets one of the credentials in from the same address from now on, also while it is kept out for what others do
// there, until it is refused. It is for credentials that nobody finds by trying: for them, an address that is kept out can
// try as many as it likes.
func (t *Try) Remember(right string) {
	g := t.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range t.shown {
		if c.text != right {
			continue
		}
		if _, ok := g.known.GetIfPresent(c.known); !ok {
			g.known.Set(c.known, struct{}{})
		}
	}
}

// Token returns what lets the same credential in from any address from now on, if it comes with it, or nothing if it has
// come already. It is for passwords, which could be found by trying if the right one alone got in: whoever is given the token
// has known the password. It says nothing of either, and is worth nothing without the password. Of several credentials
// nobody says which one was right, so there is none for them.
func (t *Try) Token() string {
	if t.hasToken || len(t.shown) != 1 {
		return ""
	}
	return t.guard.token(t.shown[0].text)
}
