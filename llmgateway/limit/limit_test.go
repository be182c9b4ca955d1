package limit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// tokens is a limit of tokens only.
func tokens(most int64, per time.Duration) Limits {
	return Limits{Windows: []Window{{Kind: Tokens, Max: most, Per: per}}}
}

// take reserves tokens and settles them with the same number.
func take(t *testing.T, l *Limiter, key string, n int64) error {
	t.Helper()
	r, _, err := l.Reserve(t.Context(), key, Use{Tokens: n})
	r.Settle(t.Context(), Use{Tokens: n})
	return err
}

// refused checks that an error is OpenAI's for a limit that was reached, and returns it.
func refused(t *testing.T, err error) *llmgateway.Error {
	t.Helper()
	if err == nil {
		t.Fatal("the request was let through")
	}
	e := llmgateway.AsError(err)
	if e.Kind != llmgateway.RateLimited || e.RetryAfter <= 0 {
		t.Fatalf("got %+v", e)
	}
	return e
}

func TestKeyThatIsOverItsLimitWaitsAsLongAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{Limits: tokens(100, time.Hour), Counts: new(Counts)}
		if err := take(t, l, "ann", 100); err != nil {
			t.Fatal(err)
		}
		e := refused(t, take(t, l, "ann", 10))
		if !strings.Contains(e.Message, "100 tokens per 1h") {
			t.Errorf("the message is %q", e.Message)
		}
		if err := take(t, l, "bob", 100); err != nil {
			t.Errorf("another key: %v", err)
		}
		time.Sleep(e.RetryAfter - time.Millisecond)
		_ = refused(t, take(t, l, "ann", 10))
		time.Sleep(time.Millisecond)
		if err := take(t, l, "ann", 10); err != nil {
			t.Errorf("after %v: %v", e.RetryAfter, err)
		}
		_ = refused(t, take(t, l, "ann", 10))
		time.Sleep(2 * time.Hour)
		if err := take(t, l, "ann", 100); err != nil {
			t.Errorf("after two hours: %v", err)
		}
	})
}

// Whatever was used before, a key has room again exactly when it was told, and not a nanosecond sooner.
func TestWaitIsExact(t *testing.T) {
	for range 20_000 {
		w := Window{Kind: Tokens, Max: 1 + rand.Int64N(1_000_000), Per: time.Duration(1+rand.Int64N(1e6)) * time.Millisecond}
		now := time.Unix(1_700_000_000, rand.Int64N(1e15))
		c := count{period: w.periodAt(now), cur: rand.Int64N(2 * w.Max), prev: rand.Int64N(2 * w.Max)}
		need := 1 + rand.Int64N(w.Max)
		fits := func(after time.Duration) bool {
			at, later := c, now.Add(after)
			at.roll(w.periodAt(later))
			return at.used(w, later)+need <= w.Max
		}
		wait := c.wait(w, need, now)
		if wait < 0 || !fits(wait) || wait > 0 && fits(wait-1) {
			t.Fatalf("%+v of %+v at %d: %d more must wait %v", c, w, now.UnixNano(), need, wait)
		}
	}
}

func TestEstimateIsReplacedByWhatWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{Limits: tokens(1000, time.Hour), Counts: new(Counts)}
		r, status, err := l.Reserve(t.Context(), "ann", Use{Tokens: 900})
		if err != nil || status.Remaining != 100 || status.Limit != 1000 {
			t.Fatalf("got %+v, %v", status, err)
		}
		_ = refused(t, take(t, l, "ann", 200))
		r.Settle(t.Context(), Use{Tokens: 50})
		r.Settle(t.Context(), Use{Tokens: 700}) // only the first counts
		if err := take(t, l, "ann", 950); err != nil {
			t.Error(err)
		}
		_ = refused(t, take(t, l, "ann", 1))
	})
}

func TestUseCountsForTheTimeOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{Limits: tokens(1000, time.Hour), Counts: new(Counts)}
		settled := func(after time.Duration) (remaining int64) {
			l.Counts = new(Counts)
			r, _, err := l.Reserve(t.Context(), "ann", Use{Tokens: 10})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
			r.Settle(t.Context(), Use{Tokens: 1000})
			_, status, _ := l.Reserve(t.Context(), "ann", Use{Tokens: 1})
			return status.Remaining
		}
		if got := settled(0); got != 0 {
			t.Errorf("at once %d remain", got)
		}
		if got := settled(90 * time.Minute); got != 499 {
			t.Errorf("half of it is an hour ago, and %d remain", got)
		}
		if got := settled(3 * time.Hour); got != 999 {
			t.Errorf("all of it is an hour ago, and %d remain", got)
		}
	})
}

func TestEstimateAboveTheLimitTakesAllOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{Limits: tokens(100, time.Hour), Counts: new(Counts)}
		r, _, err := l.Reserve(t.Context(), "ann", Use{Tokens: 5000})
		if err != nil {
			t.Fatal(err)
		}
		_ = refused(t, take(t, l, "ann", 1))
		r.Settle(t.Context(), Use{Tokens: 400})
		e := refused(t, take(t, l, "ann", 1))
		if e.RetryAfter < 75*time.Minute || e.RetryAfter > 2*time.Hour { // until three quarters have faded
			t.Errorf("four times as much as allowed is waited for %v", e.RetryAfter)
		}
	})
}

func TestTheLimitThatHoldsForLongestIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{Counts: new(Counts), Limits: Limits{Windows: []Window{
			{Kind: Tokens, Max: 100, Per: time.Minute}, {Kind: Spend, Max: 5 * USD, Per: 24 * time.Hour}, {Kind: Tokens, Max: 1000, Per: time.Hour},
		}}}
		r, status, err := l.Reserve(t.Context(), "ann", Use{Tokens: 100, Cost: 5 * USD})
		if err != nil || status.Limit != 100 || status.Remaining != 0 || status.Reset > 2*time.Minute {
			t.Fatalf("got %+v, %v", status, err)
		}
		r.Settle(t.Context(), Use{Tokens: 100, Cost: 5 * USD})
		e := refused(t, take(t, l, "ann", 10))
		if !strings.Contains(e.Message, "5 USD per 24h") || e.Code != "insufficient_quota" || e.RetryAfter < time.Hour {
			t.Errorf("got %+v", e)
		}
	})
}

func TestLimitsChangeAndCountsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := new(Counts)
		before := &Limiter{Limits: tokens(1000, time.Hour), Counts: counts}
		running, _, err := before.Reserve(t.Context(), "ann", Use{Tokens: 500})
		if err != nil {
			t.Fatal(err)
		}
		after := &Limiter{Counts: counts, Limits: Limits{Windows: []Window{
			{Kind: Tokens, Max: 50, Per: time.Minute}, {Kind: Tokens, Max: 600, Per: time.Hour},
		}}}
		_, status, err := after.Reserve(t.Context(), "ann", Use{Tokens: 200})
		if _ = refused(t, err); status.Limit != 50 && status.Limit != 600 {
			t.Errorf("got %+v", status)
		}
		running.Settle(t.Context(), Use{Tokens: 590})
		if _, status, err = after.Reserve(t.Context(), "ann", Use{Tokens: 10}); err != nil || status.Remaining != 0 {
			t.Errorf("got %+v, %v", status, err)
		}
	})
}

func TestParallelRequestsHavePlaces(t *testing.T) {
	l := &Limiter{Limits: Limits{Parallel: 2}, Counts: new(Counts)}
	reserve := func(key string) (*Reservation, error) {
		r, _, err := l.Reserve(t.Context(), key, Use{Tokens: 1})
		return r, err
	}
	first, _ := reserve("ann")
	second, _ := reserve("ann")
	_, err := reserve("ann")
	if e := refused(t, err); !strings.Contains(e.Message, "2 requests at once") {
		t.Errorf("got %q", e.Message)
	}
	if _, err := reserve("bob"); err != nil {
		t.Errorf("another key: %v", err)
	}
	first.Settle(t.Context(), Use{})
	first.Settle(t.Context(), Use{}) // frees no second place
	third, err := reserve("ann")
	if err != nil {
		t.Fatal(err)
	}
	_, err = reserve("ann")
	_ = refused(t, err)
	second.Settle(t.Context(), Use{})
	third.Settle(t.Context(), Use{})
	if err := take(t, l, "ann", 1); err != nil {
		t.Error(err)
	}
}

// However requests come together, what is counted in the end is what was used.
func TestCountsAreExactWhenManyAskTogether(t *testing.T) {
	const most, workers, rounds = 10_000, 8, 400
	counts := new(Counts)
	l := &Limiter{Counts: counts, Limits: Limits{Parallel: 5, Windows: []Window{
		{Kind: Tokens, Max: most, Per: 1000 * time.Hour}, {Kind: Spend, Max: 1 << 40, Per: 2000 * time.Hour},
	}}}
	var mu sync.Mutex // guards what follows
	used, running := map[string]Use{}, map[string]int{}
	let := map[bool]int{}
	var all sync.WaitGroup
	for worker := range workers {
		random := rand.New(rand.NewPCG(uint64(worker), 1))
		all.Go(func() {
			for range rounds {
				key := fmt.Sprint("key ", random.IntN(3))
				estimate := 1 + random.Int64N(40)
				real := Use{Tokens: random.Int64N(30), Cost: random.Int64N(1000)}
				r, _, err := l.Reserve(context.Background(), key, Use{Tokens: estimate, Cost: 1})
				mu.Lock()
				let[err == nil]++
				if err == nil {
					running[key]++
					if running[key] > 5 {
						t.Errorf("%d requests of %s run", running[key], key)
					}
				}
				mu.Unlock()
				if err != nil {
					continue
				}
				mu.Lock()
				running[key]--
				u := used[key]
				used[key] = Use{u.Tokens + real.Tokens, u.Cost + real.Cost}
				mu.Unlock()
				var twice sync.WaitGroup
				for range 2 {
					twice.Go(func() { r.Settle(context.Background(), real) })
				}
				twice.Wait()
			}
		})
	}
	all.Wait()
	if let[true] == 0 || let[false] == 0 {
		t.Fatalf("let through and refused: %v; both should occur", let)
	}
	for key, want := range used {
		e := counts.byKey[keyOf(key)].Value.(*entry)
		if got := (Use{e.windows[0].cur, e.windows[1].cur}); got != want || e.open != 0 {
			t.Errorf("%s: counted %+v, used %+v; %d are open", key, got, want, e.open)
		}
	}
}

// Reservations alone never exceed a limit, since each is taken in one step.
func TestReservationsNeverExceedTheLimit(t *testing.T) {
	l := &Limiter{Limits: tokens(1000, 1000*time.Hour), Counts: new(Counts)}
	var mu sync.Mutex
	var sum int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := int64(1); n < 60; n++ {
				if _, _, err := l.Reserve(context.Background(), "ann", Use{Tokens: n}); err == nil {
					mu.Lock()
					sum += n
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	if sum > 1000 || sum < 940 {
		t.Errorf("%d of 1000 are reserved", sum)
	}
}

func TestKeysThatAreNotUsedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{Limits: tokens(100, time.Minute), Counts: new(Counts)}
		open, _, err := l.Reserve(t.Context(), "open", Use{Tokens: 60})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := take(t, l, fmt.Sprint("old ", i), 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Minute)
		for i := range 1000 {
			if err := take(t, l, fmt.Sprint("new ", i), 1); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(l.Counts.byKey); n > 1010 || n != l.Counts.used.Len() {
			t.Errorf("%d keys are known, %d are listed", n, l.Counts.used.Len())
		}
		open.Settle(t.Context(), Use{Tokens: 100}) // nothing of it counts any more
		if err := take(t, l, "open", 100); err != nil {
			t.Error(err)
		}
	})
}

func TestNumberOfKeysIsBounded(t *testing.T) {
	l := &Limiter{Limits: tokens(1, time.Hour), Counts: new(Counts)}
	for i := range maxKeys + 100 {
		if err := take(t, l, fmt.Sprint(i), 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.Counts.byKey); n > maxKeys {
		t.Errorf("%d keys are known", n)
	}
	_ = refused(t, take(t, l, fmt.Sprint(maxKeys+99), 1)) // the last ones are
}

func BenchmarkReserveAndSettle(b *testing.B) {
	l := &Limiter{Counts: new(Counts), Limits: Limits{Parallel: 100, Windows: []Window{
		{Kind: Tokens, Max: 1 << 50, Per: time.Hour}, {Kind: Spend, Max: 1 << 50, Per: 24 * time.Hour},
	}}}
	for b.Loop() {
		r, _, err := l.Reserve(context.Background(), "ann", Use{Tokens: 10, Cost: 10})
		if err != nil {
			b.Fatal(err)
		}
		r.Settle(context.Background(), Use{Tokens: 5, Cost: 5})
	}
}
