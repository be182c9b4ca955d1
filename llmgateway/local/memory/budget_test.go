package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// granted reports whether a claim has its memory.
func granted(c *Claim) bool {
	select {
	case <-c.granted:
		return c.err == nil
	default:
		return false
	}
}

// enterSized adds a claim of known size.
func enterSized(b *Budget, manner Manner, bytes uint64, requests int) *Claim {
	c := b.Enter(fmt.Sprint(bytes), manner, requests)
	c.Size(bytes)
	return c
}

// holder adds a claim that is granted and serves, without requests.
func holder(t *testing.T, b *Budget, bytes uint64, service time.Duration) *Claim {
	t.Helper()
	c := enterSized(b, Eager, bytes, 1)
	if !granted(c) {
		t.Fatal("it is not granted")
	}
	c.Serving(service)
	c.Need(0)
	return c
}

func TestClaimsAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		first := holder(t, b, 10, 0)
		first.Need(1)
		var claims []*Claim
		for i := range 4 {
			claims = append(claims, enterSized(b, Eager, uint64(7+i%2), 1))
			time.Sleep(time.Second)
		}
		leaving := first
		for i, c := range claims {
			if !leaving.Asked() || granted(c) {
				t.Fatalf("claim %d: got asked %t, granted %t", i, leaving.Asked(), granted(c))
			}
			leaving.Release()
			for j, other := range claims[i:] {
				if granted(other) != (j == 0) {
					t.Errorf("after %d releases, claim %d: got granted %t", i+1, i+j, granted(other))
				}
			}
			c.Serving(0)
			leaving = c
		}
	})
}

func TestSmallClaimsPassThoseThatWait(t *testing.T) {
	b := NewBudget(10)
	busy := holder(t, b, 6, 0)
	busy.Need(1)
	large := enterSized(b, Eager, 8, 1)
	if small := enterSized(b, Eager, 2, 1); !granted(small) {
		t.Error("what fits beside the one that waits was not granted")
	}
	if small := enterSized(b, Eager, 1, 1); granted(small) {
		t.Error("what was promised to the one that waits was granted")
	}
	busy.Release()
	if !granted(large) {
		t.Error("the one that waited was not granted")
	}
}

func TestBusyHolderIsLetServeForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		busy := enterSized(b, Eager, 10, 1)
		waiting := enterSized(b, Eager, 10, 1)
		time.Sleep(time.Hour)
		if busy.Asked() {
			t.Error("it was asked to go while it loads for somebody")
		}
		busy.Serving(time.Minute)
		time.Sleep(59 * time.Second)
		if busy.Asked() {
			t.Error("it was asked to go too early")
		}
		time.Sleep(2 * time.Second)
		if !busy.Asked() {
			t.Error("it was not asked to go")
		}
		waiting.Release()
		if busy.Asked() {
			t.Error("nobody needs its memory, but it is to go")
		}
		// Without requests there is no reason to wait.
		next := holder(t, NewBudget(10), 10, time.Minute)
		enterSized(next.budget, Eager, 10, 1)
		if !next.Asked() {
			t.Error("an idle one was not asked to go")
		}
	})
}

func TestIdleHolderGoesInsteadOfABusyOne(t *testing.T) {
	b := NewBudget(10)
	first, second := holder(t, b, 5, 0), holder(t, b, 5, 0)
	first.Need(1)
	second.Need(1)
	enterSized(b, Eager, 5, 1)
	if !first.Asked() || second.Asked() {
		t.Errorf("got asked %t, %t, want the one that has served for longer", first.Asked(), second.Asked())
	}
	second.Need(0)
	if first.Asked() || !second.Asked() {
		t.Errorf("got asked %t, %t, want the one that has become idle", first.Asked(), second.Asked())
	}
}

func TestClaimsNobodyWaitsForDisturbNoLoad(t *testing.T) {
	b := NewBudget(10)
	loading := enterSized(b, Gentle, 10, 0)
	kept := enterSized(b, Eager, 10, 0)
	if loading.Asked() {
		t.Error("a load was ended for one that nobody waits for")
	}
	loading.Serving(time.Hour)
	if !loading.Asked() {
		t.Error("an idle one was not asked to make room")
	}
	loading.Release()
	wanted := enterSized(b, Eager, 10, 1)
	if !granted(kept) || !kept.Asked() || granted(wanted) {
		t.Errorf("got granted %t, asked %t, granted %t; want that it makes room for one that somebody waits for", granted(kept), kept.Asked(), granted(wanted))
	}
}

func TestPreloadsKeepTheirOrder(t *testing.T) {
	b := NewBudget(10)
	first, second, third := b.Enter("1", Gentle, 0), b.Enter("2", Gentle, 0), b.Enter("3", Gentle, 0)
	third.Size(10)
	second.Size(6)
	if granted(second) || granted(third) {
		t.Fatal("granted before the size of the first is known")
	}
	first.Size(4)
	if !granted(first) || !granted(second) || granted(third) {
		t.Errorf("got granted %t, %t, %t", granted(first), granted(second), granted(third))
	}
	third.Need(1)
	if !first.Asked() || !second.Asked() {
		t.Error("nobody makes room for a request")
	}
}

func TestMeekClaimsTakeWhatIsFreeAtOnceOrNothing(t *testing.T) {
	b := NewBudget(10)
	idle := holder(t, b, 5, 0)
	if c := enterSized(b, Meek, 5, 1); !granted(c) {
		t.Error("free memory was not granted")
	}
	c := enterSized(b, Meek, 5, 1)
	<-c.granted
	if c.err == nil || idle.Asked() {
		t.Errorf("got %v, asked %t", c.err, idle.Asked())
	}
}

// TestBudgetKeepsItsPromises plays engines at random: none has more than there is, none is asked to go without need, and
// whoever waits gets its memory in the end.
func TestBudgetKeepsItsPromises(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			b := NewBudget(uint64(8 + random.IntN(20)))
			var claims []*Claim
			leave := func(c *Claim) {
				c.Release()
				claims = slices.DeleteFunc(claims, func(other *Claim) bool { return other == c })
			}
			// obey does what engines do. Generations end if finish is true.
			obey := func(finish bool) {
				for _, c := range slices.Clone(claims) {
					switch {
					case c.err != nil:
						leave(c)
					case c.held && !c.ready && finish:
						c.Serving(time.Duration(random.IntN(1000)) * time.Millisecond)
					case c.Asked() && (c.requests == 0 || finish):
						if random.IntN(2) == 0 {
							c.Going()
						}
						leave(c)
					case finish && c.ready && c.requests > 0 && random.IntN(2) == 0:
						c.Need(c.requests - 1)
					}
				}
			}
			check := func() {
				if r := b.Report(); r.UsedBytes > r.MaxBytes {
					t.Fatalf("seed %d: %+v", seed, r)
				}
			}
			for range 150 {
				switch random.IntN(6) {
				case 0, 1:
					c := b.Enter("model", Manner(random.IntN(3)), random.IntN(3))
					claims = append(claims, c)
					if random.IntN(4) > 0 {
						c.Size(uint64(1 + random.IntN(30)))
					}
				case 2, 3:
					if len(claims) > 0 {
						if c := claims[random.IntN(len(claims))]; !c.sized {
							c.Size(uint64(1 + random.IntN(12)))
						} else {
							c.Need(random.IntN(3))
						}
					}
				case 4:
					obey(random.IntN(3) == 0)
				case 5:
					time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
				}
				check()
			}
			for _, c := range slices.Clone(claims) {
				if !c.sized {
					c.Size(1)
				}
			}
			waits := func(c *Claim) bool { return c.waits() && c.requests > 0 }
			for i := 0; slices.ContainsFunc(claims, waits); i++ {
				if i > 1000 {
					t.Fatalf("seed %d: somebody waits for ever: %+v", seed, b.Report())
				}
				obey(true)
				time.Sleep(100 * time.Millisecond)
				check()
			}
			for _, c := range claims {
				if c.Asked() && !slices.ContainsFunc(claims, (*Claim).waits) {
					t.Fatalf("seed %d: asked to go for nobody: %+v", seed, b.Report())
				}
			}
			if b.timer != nil {
				b.timer.Stop()
			}
		})
	}
}

func TestLargestLimitCounts(t *testing.T) {
	b := NewBudget(5)
	want := func(bytes uint64) {
		t.Helper()
		if got := b.Report().MaxBytes; got != bytes {
			t.Errorf("got %d, want %d", got, bytes)
		}
	}
	old := b.Limit(3)
	want(3)
	c := holder(t, b, 3, 0)
	failed := b.Limit(1)
	failed()
	want(3)
	next := b.Limit(1)
	if c.Asked() {
		t.Error("a limit has an effect before the one before it has gone")
	}
	old()
	want(1)
	if !c.Asked() {
		t.Error("there is less memory, and an idle one stays")
	}
	defaults := b.Limit(0)
	want(5)
	next()
	defaults()
	want(5)
}
