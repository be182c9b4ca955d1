package keys

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	first  = "first-key-0123456789"
	second = "second-key-0123456789"
)

func TestKeysOpenForTheirClientUntilTheyExpire(t *testing.T) {
	expiry := time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC)
	ring := new(Ring)
	for key, grant := range map[string]Grant{first: {Client: "ann", Expires: expiry}, second: {Client: "ben", Models: []string{"m"}}} {
		if err := ring.Add(key, grant); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		key    string
		now    time.Time
		client string
		err    error
	}{
		{first, expiry.Add(-1), "ann", nil},
		{first, expiry, "", ErrExpired},
		{second, expiry, "ben", nil},
		{"", expiry, "", ErrUnknown},
		{first[:len(first)-1], expiry, "", ErrUnknown},
		{first + "0", expiry, "", ErrUnknown},
		{strings.ToUpper(first), expiry, "", ErrUnknown},
	} {
		grant, err := ring.Find(test.key, test.now)
		if grant.Client != test.client || !errors.Is(err, test.err) {
			t.Errorf("%q at %v: got %q, %v", test.key, test.now, grant.Client, err)
		}
	}
}

func TestAnEmptyRingOpensForNobody(t *testing.T) {
	for _, key := range []string{"", first} {
		if _, err := new(Ring).Find(key, time.Now()); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: got %v", key, err)
		}
	}
}

func TestPoorKeysAreRefusedAndNotQuoted(t *testing.T) {
	ring := new(Ring)
	if err := ring.Add(first, Grant{Client: "ann"}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ key, client, want string }{
		{"", "ben", "has 0 characters"},
		{"fifteen-letters", "ben", "has 15 characters"},
		{"white space 0123456789", "ben", "characters that a header cannot carry"},
		{"grüße-0123456789-0123456789", "ben", "characters that a header cannot carry"},
		{"dummy-key-for-proxy", "ben", "no secret"},
		{first, "ben", "clients ann and ben have the same key"},
		{second, "", "name its client"},
	} {
		err := ring.Add(test.key, Grant{Client: test.client})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.key, err, test.want)
		} else if test.key != "" && strings.Contains(err.Error(), test.key) {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
	if ring.Len() != 1 {
		t.Errorf("there are %d keys", ring.Len())
	}
}

// The sums of all keys are compared, whichever the presented one is like: a ring of many answers for the first and the last.
func TestEveryKeyOfManyIsFound(t *testing.T) {
	ring := new(Ring)
	name := func(i int) string { return strings.Repeat(string(rune('a'+i)), MinLength) }
	for i := range 26 {
		if err := ring.Add(name(i), Grant{Client: string(rune('A' + i))}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 26 {
		if grant, err := ring.Find(name(i), time.Time{}); err != nil || grant.Client != string(rune('A'+i)) {
			t.Errorf("key %d: got %q, %v", i, grant.Client, err)
		}
	}
}
