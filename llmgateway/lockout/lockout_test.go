package lockout

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	start = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	home  = netip.MustParseAddr("192.0.2.7")
	away  = netip.MustParseAddr("198.51.100.7")
)

const right = "Basic right"

func newGuard(t *testing.T) *Guard {
	t.Helper()
	g, err := New(Settings{Attempts: 3, Window: time.Minute, Duration: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// attempt tries a wrong credential, and says how long it was told to wait and whether it was the one too many.
func attempt(g *Guard, from netip.Addr, now time.Time, credentials ...string) (wait time.Duration, locked bool) {
	try, wait := g.Admit(from, credentials, "", now)
	if try == nil {
		return wait, false
	}
	defer try.End()
	return 0, try.Refused(now)
}

// lockOut guesses until the address is kept out.
func lockOut(t *testing.T, g *Guard, from netip.Addr, now time.Time) {
	t.Helper()
	for i := range 3 {
		wait, locked := attempt(g, from, now, fmt.Sprint("wrong ", i))
		if wait != 0 || locked != (i == 2) {
			t.Fatalf("guess %d: got %v, %t", i, wait, locked)
		}
	}
}

func TestAnAddressThatGuessesIsKeptOutForAWhile(t *testing.T) {
	g := newGuard(t)
	lockOut(t, g, home, start)
	for after, want := range map[time.Duration]time.Duration{0: 10 * time.Minute, 9 * time.Minute: time.Minute} {
		if wait, _ := attempt(g, home, start.Add(after), "another"); wait != want {
			t.Errorf("after %v: got %v", after, wait)
		}
		// The right one is one like any other: whoever tries must not learn which it is.
		if try, wait := g.Admit(home, []string{right}, "", start.Add(after)); try != nil || wait != want {
			t.Errorf("after %v: the right one is let in by %v", after, wait)
		}
	}
	if wait, _ := attempt(g, away, start, "another"); wait != 0 {
		t.Errorf("another address is kept out for %v", wait)
	}
	if got := g.Lockouts(start); len(got) != 1 || got[0].Client.String() != "192.0.2.7/32" || got[0].Until != start.Add(10*time.Minute) {
		t.Errorf("got %v", got)
	}
	end := start.Add(10 * time.Minute)
	if got := g.Lockouts(end); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	lockOut(t, g, home, end) // it begins anew
}

func TestWrongCredentialsCountForAWhile(t *testing.T) {
	g := newGuard(t)
	for i := range 20 { // each a third of the window after the one before
		if wait, locked := attempt(g, home, start.Add(time.Duration(i)*30*time.Second), fmt.Sprint("wrong ", i)); wait != 0 || locked {
			t.Fatalf("guess %d: got %v, %t", i, wait, locked)
		}
	}
}

func TestTheSameCredentialCountsOnce(t *testing.T) {
	g := newGuard(t)
	for range 20 {
		if wait, locked := attempt(g, home, start, "stale"); wait != 0 || locked {
			t.Fatalf("got %v, %t", wait, locked)
		}
	}
	attempt(g, home, start, "one")
	if _, locked := attempt(g, home, start, "two", "two"); !locked {
		t.Error("three different ones do not lock out")
	}
}

func TestSeveralCredentialsInOneRequestCountEach(t *testing.T) {
	g := newGuard(t)
	if _, locked := attempt(g, home, start, "one", "two", "three"); !locked {
		t.Error("three at once do not lock out")
	}
	if wait, _ := attempt(g, away, start, "one", "two", "three", "four"); wait == 0 {
		t.Error("more at once than may be tried are looked at")
	}
}

func TestRightCredentialsNeverCount(t *testing.T) {
	g := newGuard(t)
	for i := range 20 {
		try, wait := g.Admit(home, []string{fmt.Sprint("right ", i)}, "", start)
		if wait != 0 {
			t.Fatalf("got %v", wait)
		}
		try.Opened()
		try.End()
	}
	lockOut(t, g, home, start) // by three wrong ones, neither more nor fewer
}

// Whoever has a key of their own does not reset by it what they have guessed.
func TestRightCredentialsDoNotMakeUpForWrongOnes(t *testing.T) {
	g := newGuard(t)
	for _, wrong := range []string{"one", "two"} {
		attempt(g, home, start, wrong)
		for _, credentials := range [][]string{{right}, {right, wrong}} {
			try, wait := g.Admit(home, credentials, "", start)
			if wait != 0 {
				t.Fatalf("got %v", wait)
			}
			try.Opened()
			try.End()
		}
	}
	if _, locked := attempt(g, home, start, "three"); !locked {
		t.Error("three wrong ones do not lock out")
	}
}

// A credential may be refused by one site and open another, or become right.
func TestACredentialThatTurnsOutRightNoLongerCounts(t *testing.T) {
	g := newGuard(t)
	attempt(g, home, start, right)
	attempt(g, home, start, "one")
	try, _ := g.Admit(home, []string{right}, "", start)
	try.Opened()
	if _, locked := attempt(g, home, start, "two"); locked {
		t.Error("two wrong ones lock out")
	}
}

func TestGuessesAtOnceAreNoMoreThanOneByOne(t *testing.T) {
	g := newGuard(t)
	var tries []*Try
	for i := range 5 {
		try, wait := g.Admit(home, []string{fmt.Sprint("wrong ", i)}, "", start)
		if (try == nil) != (i >= 3) || try == nil && wait != busy {
			t.Errorf("guess %d: got %v", i, wait)
		}
		if try != nil {
			tries = append(tries, try)
		}
	}
	// What is being looked at already may come again, as a browser asks for all of a page.
	again, wait := g.Admit(home, []string{"wrong 0"}, "", start)
	if wait != 0 {
		t.Fatalf("got %v", wait)
	}
	again.End()
	if _, wait := g.Admit(home, []string{"another"}, "", start); wait != busy {
		t.Errorf("got %v", wait)
	}
	// Nothing came of one of them, and it has room for another.
	tries[0].End()
	tries[0].End()
	if wait, _ := attempt(g, home, start, "another"); wait != 0 {
		t.Errorf("got %v", wait)
	}
	for i, want := range []bool{false, false, true} {
		if got := tries[max(1, i)].Refused(start); got != want { // the first of them twice
			t.Errorf("refusal %d: got %t", i, got)
		}
	}
	if got := len(g.Lockouts(start)); got != 1 {
		t.Errorf("got %d", got)
	}
}

func TestWhoWasLetInFromTheAddressGoesOn(t *testing.T) {
	g := newGuard(t)
	try, _ := g.Admit(home, []string{right}, "", start)
	try.Opened()
	try.Remember(right)
	try.End()
	lockOut(t, g, home, start)
	for range 20 {
		try, wait := g.Admit(home, []string{right}, "", start)
		if wait != 0 {
			t.Fatalf("got %v", wait)
		}
		try.Opened()
		try.End()
	}
	beside, wait := g.Admit(home, []string{"another", right}, "", start)
	if wait == 0 || beside == nil || !slices.Equal(beside.Credentials(), []string{right}) {
		t.Errorf("another is let in beside it: got %v, %v", beside, wait)
	}
	beside.End()
	lockOut(t, g, away, start)
	if wait, _ := attempt(g, away, start, right); wait == 0 {
		t.Error("it is let in from where it was never right")
	}
	// It no longer opens.
	if wait, _ := attempt(g, home, start, right); wait != 0 {
		t.Errorf("got %v", wait)
	}
	if wait, _ := attempt(g, home, start, right); wait == 0 {
		t.Error("it is still let in")
	}
}

func TestATokenLetsItsCredentialInFromAnywhere(t *testing.T) {
	g := newGuard(t)
	try, _ := g.Admit(home, []string{right}, "", start)
	try.Opened()
	token := try.Token()
	lockOut(t, g, away, start)
	try, wait := g.Admit(away, []string{right}, token, start)
	if wait != 0 {
		t.Fatalf("got %v", wait)
	}
	if got := try.Token(); got != "" {
		t.Errorf("got another token %s", got)
	}
	try.End()
	other, err := New(g.settings)
	if err != nil {
		t.Fatal(err)
	}
	foreign := other.token(right)
	for _, test := range []struct{ credential, token string }{
		{right, ""},
		{right, token[1:]},
		{right, foreign},
		{"another", token},
	} {
		if try, _ := g.Admit(away, []string{test.credential}, test.token, start); try != nil {
			t.Errorf("%v is let in", test)
		}
	}
	if strings.Contains(token, "right") || len(token) < 40 {
		t.Errorf("got %s", token)
	}
}

// Whoever has a key of their own cannot have guesses let in beside it.
func TestWhatComesBesideARightCredentialIsAGuess(t *testing.T) {
	g := newGuard(t)
	for i := range 20 {
		try, wait := g.Admit(home, []string{fmt.Sprint("wrong ", i), right}, "", start)
		if wait != 0 {
			t.Fatalf("got %v", wait)
		}
		try.Opened()
		try.Remember(right)
		if got := try.Token(); got != "" {
			t.Fatalf("got the token %s for several", got)
		}
		try.End()
	}
	for i := range 2 { // two guesses, and the key that was no password
		try, wait := g.Admit(home, []string{fmt.Sprint("wrong ", i), right}, "", start)
		if wait != 0 {
			t.Fatalf("guess %d: got %v", i, wait)
		}
		if locked := try.Refused(start); locked != (i == 1) {
			t.Errorf("guess %d: got %t", i, locked)
		}
	}
	if try, _ := g.Admit(home, []string{"wrong 2", right}, "", start); try != nil {
		t.Errorf("what has been refused lets in %q", try.Credentials())
	}
}

// Whoever was given a token and guesses on with it gains nothing.
func TestATokensCredentialCountsOnceItIsRefused(t *testing.T) {
	g := newGuard(t)
	attempt(g, home, start, "one")
	attempt(g, home, start, "two")
	try, _ := g.Admit(home, []string{right}, g.token(right), start)
	if !try.Refused(start) {
		t.Error("three wrong ones do not lock out")
	}
}

func TestAnAddressIsItsNetworkInIPv6(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":              "192.0.2.7/32",
		"::ffff:192.0.2.7":       "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::/64",
		"fe80::1%eth0":           "fe80::/64",
		"2001:db8:1:2:ffff::":    "2001:db8:1:2::/64",
		"2001:db8:1:3::":         "2001:db8:1:3::/64",
		"::1":                    "::/64",
		"255.255.255.255":        "255.255.255.255/32",
		"::ffff:0:0":             "0.0.0.0/32",
		"2001:db8:0:0:8000:1::1": "2001:db8::/64",
	} {
		if got := Client(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	g := newGuard(t)
	lockOut(t, g, netip.MustParseAddr("2001:db8::1"), start)
	if wait, _ := attempt(g, netip.MustParseAddr("2001:db8::2"), start, "another"); wait == 0 {
		t.Error("the same network is let in by another address")
	}
	lockOut(t, g, netip.Addr{}, start) // where there is none, as on a socket
	if wait, _ := attempt(g, netip.Addr{}, start, "another"); wait == 0 {
		t.Error("whoever has no address is let in")
	}
}

// Whoever has very many addresses fills no memory, and does not make the guard forget one that guesses on.
func TestMemoryIsBounded(t *testing.T) {
	g := newGuard(t)
	if got := g.clients.GetMaximum() + g.known.GetMaximum(); got != maxClients+maxKnown {
		t.Errorf("got %d", got)
	}
	const few = 256
	g.clients.SetMaximum(few)
	g.known.SetMaximum(few)
	lockOut(t, g, home, start)
	for i := range 20 * few {
		if i%16 == 0 {
			if wait, _ := attempt(g, home, start, "another"); wait == 0 {
				t.Fatalf("forgotten after %d others", i)
			}
		}
		g.mu.Lock()
		g.client(Client(netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 16), byte(i >> 8), byte(i)})))
		g.known.Set(sum{byte(i >> 16), byte(i >> 8), byte(i)}, struct{}{})
		g.mu.Unlock()
	}
	if clients, known := g.clients.EstimatedSize(), g.known.EstimatedSize(); clients > few || known > few {
		t.Errorf("got %d addresses and %d credentials", clients, known)
	}
}

// Addresses from which nothing wrong comes take no memory.
func TestNothingIsKeptOfWhoIsRight(t *testing.T) {
	g := newGuard(t)
	for i := range 100 {
		try, _ := g.Admit(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), []string{right}, "", start)
		try.Opened()
		try.End()
	}
	if got := slices.Collect(g.clients.Keys()); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func TestManyMayAskAtOnce(t *testing.T) {
	g := newGuard(t)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				try, _ := g.Admit(home, []string{fmt.Sprint(worker, i%5)}, "", start.Add(time.Duration(i)*time.Minute))
				if try == nil {
					continue
				}
				switch i % 3 {
				case 0:
					try.Refused(start)
				case 1:
					try.Opened()
					try.Remember(fmt.Sprint(worker, i%5))
				}
				try.End()
				g.Lockouts(start)
			}
		})
	}
	wg.Wait()
	// What is left of an earlier window leaves room for all attempts: no try is held as if it were still open.
	lockOut(t, g, home, start.Add(1000*time.Hour))
}

func TestSettingsAreBounded(t *testing.T) {
	good := Settings{Attempts: 10, Window: time.Minute, Duration: time.Minute}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Settings){
		"attempts":          func(s *Settings) { s.Attempts = 0 },
		"between 1 and 100": func(s *Settings) { s.Attempts = 101 },
		"window":            func(s *Settings) { s.Window = 0 },
		"duration":          func(s *Settings) { s.Duration = 8 * 24 * time.Hour },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
