package limit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/redis/redistest"
)

// gateways returns limiters that share a server, as many gateways would, and counts their complaints.
func gateways(t *testing.T, address string, n int, limits Limits) (all []*Limiter, complaints *atomic.Int64) {
	t.Helper()
	complaints = new(atomic.Int64)
	for range n {
		shared, err := NewRedis("redis://"+address, func(error) { complaints.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = shared.Close() })
		all = append(all, &Limiter{Name: "users", Limits: limits, Counts: new(Counts), Shared: shared})
	}
	return all, complaints
}

func TestGatewaysShareLimits(t *testing.T) {
	address, _ := redistest.Start(t)
	all, complaints := gateways(t, address, 2, Limits{Windows: []Window{{Tokens, 1000, 1000 * time.Hour}, {Spend, 5 * USD, 2000 * time.Hour}}})
	one, other := all[0], all[1]
	r, status, err := one.Reserve(t.Context(), "ann", Use{Tokens: 700, Cost: USD})
	if err != nil || status.Remaining != 300 {
		t.Fatalf("got %+v, %v", status, err)
	}
	_, status, err = other.Reserve(t.Context(), "ann", Use{Tokens: 400})
	if e := refused(t, err); !strings.Contains(e.Message, "1000 tokens") || status.Remaining != 300 {
		t.Errorf("got %+v, %+v", e, status)
	}
	if err := take(t, other, "bob", 1000); err != nil {
		t.Errorf("another key: %v", err)
	}
	r.Settle(t.Context(), Use{Tokens: 100, Cost: 5 * USD})
	_, status, err = other.Reserve(t.Context(), "ann", Use{Tokens: 400})
	if e := refused(t, err); !strings.Contains(e.Message, "5 USD") || status.Remaining != 900 {
		t.Errorf("got %+v, %+v", e, status)
	}
	if len(other.Counts.byKey) == 0 || complaints.Load() != 0 {
		t.Errorf("%d keys, %d complaints", len(other.Counts.byKey), complaints.Load())
	}
}

func TestSharedCountsAreExactWhenManyAskTogether(t *testing.T) {
	address, _ := redistest.Start(t)
	limits := Limits{Windows: []Window{{Tokens, 10_000, 1000 * time.Hour}}}
	all, complaints := gateways(t, address, 2, limits)
	var used atomic.Int64
	var group sync.WaitGroup
	for worker := range 8 {
		random := rand.New(rand.NewPCG(uint64(worker), 2))
		group.Go(func() {
			for range 50 {
				r, _, err := all[worker%2].Reserve(context.Background(), "ann", Use{Tokens: 1 + random.Int64N(50)})
				if err != nil {
					continue
				}
				n := random.Int64N(20)
				used.Add(n)
				r.Settle(context.Background(), Use{Tokens: n})
			}
		})
	}
	group.Wait()
	if complaints.Load() > 0 {
		t.Skip("the server was too slow on this machine to count everything")
	}
	_, status, err := all[0].Reserve(t.Context(), "ann", Use{Tokens: 1})
	if err != nil || status.Remaining != 10_000-used.Load()-1 {
		t.Errorf("%d remain of 10000 and %d are used, %v", status.Remaining, used.Load(), err)
	}
}

// The script counts as this process does: whatever comes, both say the same.
func TestScriptCountsAsThisProcessDoes(t *testing.T) {
	address, _ := redistest.Start(t)
	w := Window{Tokens, 1000, 10 * time.Second}
	all, complaints := gateways(t, address, 1, Limits{Windows: []Window{w}})
	l, alone := all[0], &Limiter{Limits: all[0].Limits, Counts: new(Counts)}
	random := rand.New(rand.NewPCG(1, 3))
	now := time.UnixMilli(time.Now().UnixMilli())
	lets := 0
	for i := range 300 {
		now = now.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
		reservation := func(l *Limiter) *Reservation {
			return &Reservation{limiter: l, key: keyOf("ann"), now: now, taken: []int64{1 + random.Int64N(400)}}
		}
		here, there := reservation(alone), reservation(l)
		there.taken = here.taken
		want, _, ok := alone.Counts.reserve(here)
		got, within, asked := l.Shared.reserve(t.Context(), l, there)
		if !asked {
			t.Fatalf("the server was not asked; %d complaints", complaints.Load())
		}
		if within != ok || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("step %d: the script says %v, %v; want %v, %v", i, got, within, want, ok)
		}
		if ok {
			lets++
			use := Use{Tokens: random.Int64N(500)}
			alone.Counts.settle(here, use)
			l.Shared.settle(t.Context(), l, there, use)
		}
	}
	if lets == 0 || lets == 300 {
		t.Errorf("%d of 300 were let through", lets)
	}
}

func TestCountingGoesOnWithoutTheServer(t *testing.T) {
	address, kill := redistest.Start(t)
	all, complaints := gateways(t, address, 1, tokens(100, 1000*time.Hour))
	l := all[0]
	running, _, err := l.Reserve(t.Context(), "ann", Use{Tokens: 60})
	if err != nil {
		t.Fatal(err)
	}
	kill()
	began := time.Now()
	_, _, err = l.Reserve(t.Context(), "ann", Use{Tokens: 50})
	_ = refused(t, err)
	running.Settle(t.Context(), Use{Tokens: 50})
	for range 5 {
		if err := take(t, l, "ann", 10); err != nil {
			t.Error(err)
		}
	}
	_ = refused(t, take(t, l, "ann", 10))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if n := complaints.Load(); n != 1 {
		t.Errorf("%d complaints", n)
	}
}

// A server that accepts and says nothing costs one short wait.
func TestSilentServerIsLeftAlone(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	all, complaints := gateways(t, silent.Addr().String(), 1, tokens(100, time.Hour))
	began := time.Now()
	for range 10 {
		if err := take(t, all[0], "ann", 1); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took > 2*time.Second || complaints.Load() != 1 {
		t.Errorf("it took %v, with %d complaints", took, complaints.Load())
	}
}

func TestRedisURLIsNotQuoted(t *testing.T) {
	if _, err := NewRedis("http://user:secret@host", nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
