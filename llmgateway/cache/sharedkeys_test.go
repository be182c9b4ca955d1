package cache

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Gateways with one Redis make the same keys, also when it has lost what they agreed on, and others make different ones.
func TestGatewaysWithOneRedisMakeTheSameKeys(t *testing.T) {
	server := miniredis.RunT(t)
	a, _ := redisAt(t, server.Addr())
	b, failures := redisAt(t, server.Addr())
	req := read(t, `{"model":"m","messages":[{"role":"user","content":"`+strings.Repeat("long ", 1000)+`"}]}`)
	key := func(r *Redis) Key { return r.Keys(t.Context()).Of(Scope{Model: "m"}, req) }
	first := key(a)
	if key(b) != first || key(a) != first {
		t.Error("the keys of two gateways differ")
	}
	if ownKeys().Of(Scope{Model: "m"}, req) == first {
		t.Error("a gateway without Redis makes the same keys")
	}
	server.FlushAll()
	if key(a) != first {
		t.Error("the key has changed before its time")
	}
	for _, r := range []*Redis{a, b} {
		old := r.keys.now.Load()
		r.keys.now.Store(&datedKeys{old.Keys, time.Now()})
	}
	if second := key(b); second == first || key(a) != second {
		t.Error("after Redis has lost their secret, the gateways do not agree on another")
	}
	if failures.Load() != 0 {
		t.Errorf("%d failures", failures.Load())
	}
}

// Keys are there while the server is not, and are the shared ones again as soon as it is.
func TestKeysDoNotNeedRedis(t *testing.T) {
	server := miniredis.RunT(t)
	r, failures := redisAt(t, server.Addr())
	server.SetError("LOADING the dataset")
	if r.Keys(t.Context()) != ownKeys() {
		t.Error("the server's failure is not noticed")
	}
	if failures.Load() != 1 {
		t.Errorf("%d failures are told", failures.Load())
	}
	server.SetError("")
	r.server.Rested()
	shared := r.Keys(t.Context())
	if shared == ownKeys() {
		t.Error("the server is not asked again")
	}
	server.SetError("LOADING the dataset")
	r.keys.now.Store(&datedKeys{shared, time.Now()})
	if r.Keys(t.Context()) != shared {
		t.Error("keys that were known are forgotten")
	}
}

func TestStrangeSecretIsNotUsed(t *testing.T) {
	server := miniredis.RunT(t)
	if err := server.Set(secretName, "short"); err != nil {
		t.Fatal(err)
	}
	r, failures := redisAt(t, server.Addr())
	if r.Keys(t.Context()) != ownKeys() || failures.Load() != 1 {
		t.Error("it is used")
	}
}
