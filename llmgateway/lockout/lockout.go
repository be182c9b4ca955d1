// Package lockout keeps out addresses from which somebody guesses keys or passwords, and not those who share such an address.
//
// A [Guard] counts the different wrong credentials that come from an address, and keeps out what else comes from there once
// there were too many. Who has got in from there before goes on to get in, see [Try.Remember] and [Try.Token].
package lockout

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// Settings say when an address is kept out.
type Settings struct {
	// Attempts is how many different wrong credentials an address may try within Window, from 1 to 100.
	Attempts int
	Window   time.Duration

	// Duration is how long it is kept out then.
	Duration time.Duration
}

// maxAttempts bounds the memory that an address takes.
const maxAttempts = 100

// Validate reports what is wrong with the settings.
func (s Settings) Validate() error {
	switch {
	case s.Attempts < 1 || s.Attempts > maxAttempts:
		return fmt.Errorf("attempts must be between 1 and %d", maxAttempts)
	case s.Window < time.Second || s.Window > 24*time.Hour:
		return errors.New("window must be between 1s and 24h")
	case s.Duration < time.Second || s.Duration > 7*24*time.Hour:
		return errors.New("duration must be between 1s and 7d")
	}
	return nil
}

// Bounds on what a guard remembers. An address takes some hundred bytes. When there are more, those that matter least are
// forgotten (W-TinyLFU), so one who has very many addresses does not push out those that guess on.
const (
	maxClients = 1 << 14
	maxKnown   = 1 << 14
)

// Guard keeps addresses out. It may be asked by many at once. It keeps no credentials, and hashes of them only under a secret
// of its own.
type Guard struct {
	settings Settings
	secret   [32]byte

	mu      sync.Mutex // guards what the caches hold, and orders their changes
	clients *otter.Cache[netip.Prefix, *client]
	known   *otter.Cache[sum, struct{}] // credentials that have opened, each with the address it came from
}

// sum is a credential under a guard's secret.
type sum [sha256.Size]byte

// New returns a guard that knows nobody.
func New(s Settings) (*Guard, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	g := &Guard{settings: s}
	_, _ = rand.Read(g.secret[:]) // which does not fail
	// What the caches do in the background they do at once: then there is nothing to close.
	inline := func(f func()) { f() }
	var err error
	if g.clients, err = otter.New(&otter.Options[netip.Prefix, *client]{MaximumSize: maxClients, Executor: inline}); err != nil {
		return nil, err
	}
	if g.known, err = otter.New(&otter.Options[sum, struct{}]{MaximumSize: maxKnown, Executor: inline}); err != nil {
		return nil, err
	}
	return g, nil
}

// Lockout is an address that is kept out.
type Lockout struct {
	Client netip.Prefix
	Until  time.Time
}

// Lockouts returns the addresses that are kept out now, in their order.
func (g *Guard) Lockouts(now time.Time) []Lockout {
	var all []Lockout
	g.mu.Lock()
	for address, c := range g.clients.All() {
		if c.until.After(now) {
			all = append(all, Lockout{address, c.until})
		}
	}
	g.mu.Unlock()
	slices.SortFunc(all, func(a, b Lockout) int {
		return cmp.Or(a.Client.Addr().Compare(b.Client.Addr()), cmp.Compare(a.Client.Bits(), b.Client.Bits()))
	})
	return all
}

// Client returns what counts as one address: an IPv4 address, or the network of 64 bits that an IPv6 address is in, since
// whoever has one of its addresses has them all. The zero address is one like any other.
func Client(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits)
	return prefix
}

// sum hashes what belongs together. What it is for keeps hashes apart.
func (g *Guard) sum(purpose string, parts ...string) (s sum) {
	text := append([]byte(purpose), 0)
	for _, part := range parts {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	hash := hmac.New(sha256.New, g.secret[:])
	hash.Write(text)
	hash.Sum(s[:0])
	return s
}

// token returns what shows that a credential has opened before.
func (g *Guard) token(credential string) string {
	s := g.sum("token", credential)
	return base64.RawURLEncoding.EncodeToString(s[:])
}
