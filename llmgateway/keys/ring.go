// Package keys tells whose a key is, and what its owner may use. It keeps what keys hash to, and no key.
package keys

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MinLength is how long a key must be: what is shorter can be found by trying.
const MinLength = 16

// Grant is what a key opens.
type Grant struct {
	// Client is whose key it is.
	Client string

	// Expires is when it stops to open anything. Zero means never.
	Expires time.Time

	// Models are the names of what it may ask for; they may end in *. None means everything.
	Models []string
}

// Reasons for which a key opens nothing.
var (
	ErrUnknown = errors.New("the key is not known")
	ErrExpired = errors.New("the key has expired")
)

// Ring holds keys. The zero value holds none and opens for nobody. It may be asked by many at once after the last Add.
type Ring struct {
	entries []entry
}

type entry struct {
	sum   [sha256.Size]byte
	grant Grant
}

// Len returns how many keys there are.
func (r *Ring) Len() int { return len(r.entries) }

// Add takes a key in. Errors do not quote it.
func (r *Ring) Add(key string, grant Grant) error {
	switch {
	case grant.Client == "":
		return errors.New("a key belongs to nobody: name its client")
	case len(key) < MinLength:
		return fmt.Errorf("a key of client %s has %d characters; make it %d or more, for instance with `openssl rand -hex 24`",
			grant.Client, len(key), MinLength)
	case strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }):
		return fmt.Errorf("a key of client %s has characters that a header cannot carry; use letters, digits and signs of ASCII", grant.Client)
	case key == bytebotsOwn:
		return fmt.Errorf("a key of client %s is the one that every Bytebot sends, and no secret", grant.Client)
	}
	sum := sha256.Sum256([]byte(key))
	for _, e := range r.entries {
		if e.sum == sum {
			return fmt.Errorf("clients %s and %s have the same key; give each its own", e.grant.Client, grant.Client)
		}
	}
	r.entries = append(r.entries, entry{sum, grant})
	return nil
}

// bytebotsOwn is what Bytebot's agent sends in place of a key.
const bytebotsOwn = "dummy-key-for-proxy"

// Find returns what a key opens. The time it takes depends on the length of the key that was presented and on how many
// there are, and not on how alike they are, nor on which one it is.
func (r *Ring) Find(key string, now time.Time) (Grant, error) {
	sum := sha256.Sum256([]byte(key))
	found := -1
	for i := range r.entries {
		equal := subtle.ConstantTimeCompare(sum[:], r.entries[i].sum[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return Grant{}, ErrUnknown
	}
	grant := r.entries[found].grant
	if !grant.Expires.IsZero() && !now.Before(grant.Expires) {
		return Grant{}, ErrExpired
	}
	return grant, nil
}
