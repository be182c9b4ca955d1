package cache

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/redis"
)

const (
	// secretName is where gateways keep the secret that their keys are made with.
	secretName = "llmgateway:answer-secret"
	// secretAge is when the secret is asked for again. The server may lose it, and another gateway write a new one.
	secretAge = time.Minute
)

// sharedKeys are the keys of all gateways with one Redis server.
type sharedKeys struct {
	asking sync.Mutex // held by who asks for the secret
	now    atomic.Pointer[datedKeys]
}

// datedKeys are keys, and when they are too old.
type datedKeys struct {
	*Keys
	until time.Time
}

// Keys implements Keyer. The secret is in the server, where the first gateway leaves it. While the server does not answer, the
// keys are this gateway's own.
func (r *Redis) Keys(ctx context.Context) *Keys {
	now := r.keys.now.Load()
	if now != nil && time.Now().Before(now.until) || r.server.Resting() {
		return now.orOwn()
	}
	if now == nil {
		r.keys.asking.Lock()
	} else if !r.keys.asking.TryLock() {
		return now.Keys // somebody asks already
	}
	defer r.keys.asking.Unlock()
	if now = r.keys.now.Load(); now != nil && time.Now().Before(now.until) {
		return now.Keys
	}
	secret, err := r.secret(ctx)
	if err != nil {
		r.server.Note(ctx, "asking for the secret of cached answers", err)
		return now.orOwn()
	}
	if now == nil || now.secret != secret {
		now = &datedKeys{Keys: NewKeys(secret)}
	}
	r.keys.now.Store(&datedKeys{now.Keys, time.Now().Add(secretAge)})
	return now.Keys
}

func (d *datedKeys) orOwn() *Keys {
	if d == nil {
		return ownKeys()
	}
	return d.Keys
}

// secret returns the gateways' secret, and makes one if there is none.
func (r *Redis) secret(ctx context.Context) (secret [SecretSize]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, redis.Within)
	defer cancel()
	_, _ = rand.Read(secret[:]) // never fails
	if err := r.server.SetNX(ctx, secretName, secret[:], 0).Err(); err != nil {
		return secret, err
	}
	kept, err := r.server.Get(ctx, secretName).Bytes()
	if err != nil {
		return secret, err
	}
	if copy(secret[:], kept) != SecretSize || len(kept) != SecretSize {
		return secret, fmt.Errorf("%s holds something else; delete it", secretName)
	}
	return secret, nil
}
