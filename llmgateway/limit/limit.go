// Package limit bounds how many tokens clients use, what they spend, and how much they ask for at once.
//
// A [Limiter] reserves an estimate before a request is answered and settles it with what was really used. What is counted
// is kept in [Counts], which outlive the limits: a limit may change while requests run.
package limit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Kind is what a window counts.
type Kind string

const (
	// Tokens counts the tokens of prompts and answers.
	Tokens Kind = "tokens"
	// Spend counts what they cost, in billionths of a US dollar.
	Spend Kind = "spend"
)

// USD is a US dollar in the unit that [Spend] is counted in.
const USD = 1_000_000_000

// Window is one limit: at most Max within a time of Per. The time slides: of what was counted in the period before the
// current one, that part still counts which would lie within Per if all of it had come evenly. So what is used up at once
// is free again after two periods at the latest, and in part after one.
type Window struct {
	Kind Kind
	// Max is at least 1.
	Max int64
	// Per is at least a millisecond.
	Per time.Duration
}

// Limits are all that hold for one key.
type Limits struct {
	Windows []Window
	// Parallel is how many requests may run at once; 0 means any number. Each gateway counts its own.
	Parallel int
}

// Use is what a request uses.
type Use struct {
	Tokens int64
	// Cost is in billionths of a US dollar.
	Cost int64
}

func (u Use) of(k Kind) int64 {
	if k == Spend {
		return u.Cost
	}
	return u.Tokens
}

// Limiter holds requests to limits. Its fields are not changed after first use.
type Limiter struct {
	// Name tells this limiter's keys from those of others with the same Shared.
	Name   string
	Limits Limits
	// Counts is what this gateway has counted.
	Counts *Counts
	// Shared counts for several gateways. Nil means that this one is alone; while the server is slow or down, it is as if it
	// were.
	Shared *Redis
}

// Reserve takes the estimate of what a request will use out of the limits of its key, and returns what must be settled when
// the request has ended, in whatever way. An estimate that is larger than a limit takes all of it. A key that is over a
// limit gets an error, for the client, and no reservation. The status is told in either case.
//
// It waits for nobody but, shortly, for the shared counts.
func (l *Limiter) Reserve(ctx context.Context, key string, estimate Use) (*Reservation, Status, error) {
	r := &Reservation{limiter: l, key: keyOf(key), now: time.Now(), taken: make([]int64, len(l.Limits.Windows))}
	for i, w := range l.Limits.Windows {
		r.taken[i] = min(max(estimate.of(w.Kind), 1), w.Max)
	}
	counts, busy, ok := l.Counts.reserve(r)
	if busy {
		return nil, l.status(counts, r.now), tooMany(l.Limits.Parallel)
	}
	if ok && l.Shared != nil {
		var all []count
		var within bool
		if all, within, r.shared = l.Shared.reserve(ctx, l, r); r.shared {
			counts = all
			if !within {
				ok, r.shared = false, false // nothing was taken there
				r.Settle(ctx, Use{})
			}
		}
	}
	status := l.status(counts, r.now)
	if !ok {
		return nil, status, l.exceeded(counts, r)
	}
	return r, status, nil
}

// Reservation is what has been taken out of a key's limits for one request.
type Reservation struct {
	limiter *Limiter
	key     keySum
	now     time.Time // when it was made; what is used counts for that time
	taken   []int64   // of each window
	entry   *entry
	shared  bool // it was made in the shared counts, too
	once    sync.Once
}

// keySum stands for a key of any length.
type keySum [sha256.Size]byte

func keyOf(key string) keySum { return sha256.Sum256([]byte(key)) }

// Settle puts what was really used in place of the estimate, and frees the request's place among the parallel ones. Only the
// first call does something; it may be called on a nil Reservation. The shared counts are told even if ctx has ended.
func (r *Reservation) Settle(ctx context.Context, used Use) {
	if r == nil {
		return
	}
	r.once.Do(func() {
		r.limiter.Counts.settle(r, used)
		if r.shared {
			r.limiter.Shared.settle(context.WithoutCancel(ctx), r.limiter, r, used)
		}
	})
}

// Status tells how a key stands with the token limit of which it has least left.
type Status struct {
	// Limit is 0 if there is no limit of tokens.
	Limit, Remaining int64
	// Reset is how long it takes until nothing of what was used counts any more.
	Reset time.Duration
}

// status returns the Status for counts, which are in the order of the limiter's windows.
func (l *Limiter) status(counts []count, now time.Time) (s Status) {
	for i, w := range l.Limits.Windows {
		if w.Kind != Tokens {
			continue
		}
		left := max(0, w.Max-counts[i].used(w, now))
		if s.Limit == 0 || left < s.Remaining {
			s = Status{Limit: w.Max, Remaining: left, Reset: counts[i].reset(w, now)}
		}
	}
	return s
}

// exceeded returns the error for a request that does not fit into counts: it names the limit that holds for longest.
func (l *Limiter) exceeded(counts []count, r *Reservation) error {
	var wait time.Duration
	var which Window
	for i, w := range l.Limits.Windows {
		if d := counts[i].wait(w, r.taken[i], r.now); d > wait || which.Max == 0 {
			wait, which = d, w
		}
	}
	wait = max(wait, time.Millisecond)
	e := &llmgateway.Error{Kind: llmgateway.RateLimited, RetryAfter: wait}
	limit := strconv.FormatInt(which.Max, 10) + " tokens"
	if which.Kind == Spend {
		e.Code = "insufficient_quota" // as OpenAI says where money is the limit
		limit = FormatUSD(which.Max) + " USD"
	}
	again := wait.Truncate(time.Second)
	if again < wait {
		again += time.Second
	}
	e.Message = fmt.Sprintf("the limit of %s per %s is reached; there is room for this request in %s, at %s",
		limit, period(which.Per), again, r.now.Add(again).UTC().Format(time.RFC3339))
	return e
}

// tooMany returns the error for a request beside too many others.
func tooMany(parallel int) error {
	return &llmgateway.Error{
		Kind: llmgateway.RateLimited, RetryAfter: time.Second,
		Message: fmt.Sprintf("the limit of %d requests at once is reached; wait until one of them has ended", parallel),
	}
}

// FormatUSD writes billionths of a US dollar as dollars, with as many digits as it takes.
func FormatUSD(nanos int64) string {
	return strconv.FormatFloat(float64(nanos)/USD, 'f', -1, 64)
}

// period writes a duration as people do: 24h, not 24h0m0s.
func period(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	default:
		return d.String()
	}
}
