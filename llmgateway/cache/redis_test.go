package cache

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/redis"
)

// redisAt returns a store for a server, and how often it has said that the server failed.
func redisAt(t *testing.T, address string) (*Redis, *atomic.Int64) {
	t.Helper()
	failures := new(atomic.Int64)
	r, err := NewRedis("redis://"+address, func(err error) {
		t.Log(err)
		failures.Add(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, failures
}

func TestRedisKeepsAnswersForTheirTime(t *testing.T) {
	server := miniredis.RunT(t)
	r, failures := redisAt(t, server.Addr())
	key := Key{1}
	if _, ok := r.Get(t.Context(), key); ok {
		t.Error("got an answer that was not put there")
	}
	r.Put(t.Context(), key, []byte("answer"), time.Minute)
	if got, ok := r.Get(t.Context(), key); !ok || string(got) != "answer" {
		t.Errorf("got %q, %t", got, ok)
	}
	server.FastForward(time.Minute)
	if _, ok := r.Get(t.Context(), key); ok {
		t.Error("an answer outlived its time")
	}
	if failures.Load() != 0 {
		t.Errorf("%d failures", failures.Load())
	}
}

func TestRedisThatIsDownIsLeftAloneForAWhile(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	full := miniredis.RunT(t)
	full.SetError("OOM command not allowed when used memory > 'maxmemory'.")
	for name, address := range map[string]string{"silent": silent.Addr().String(), "closed": closed.Addr().String(), "full": full.Addr()} {
		t.Run(name, func(t *testing.T) {
			r, failures := redisAt(t, address)
			began := time.Now()
			for range 100 {
				if _, ok := r.Get(t.Context(), Key{}); ok {
					t.Fatal("got an answer")
				}
				r.Put(t.Context(), Key{}, []byte("x"), time.Minute)
			}
			if took := time.Since(began); took > 40*redis.Within {
				t.Errorf("took %v", took)
			}
			if failures.Load() != 1 {
				t.Errorf("it was reported %d times", failures.Load())
			}
		})
	}
	full.SetError("")
	r, _ := redisAt(t, full.Addr())
	r.server.Rested()
	r.Put(t.Context(), Key{}, []byte("x"), time.Minute)
	if _, ok := r.Get(t.Context(), Key{}); !ok {
		t.Error("it is not asked again")
	}
}

func TestRedisURLErrorsHideThePassword(t *testing.T) {
	for _, url := range []string{"http://user:hunter2@host", "redis://user:hunter2@host:port/x", "redis://user:hunter2@host/notanumber", "hunter2"} {
		if _, err := NewRedis(url, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}
