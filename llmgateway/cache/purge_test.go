package cache

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func TestPurgeForgetsAnswersAndNothingElse(t *testing.T) {
	server := miniredis.RunT(t)
	if err := server.Set("somebody:else", "kept"); err != nil {
		t.Fatal(err)
	}
	shared, _ := redisAt(t, server.Addr())
	own, err := NewMemory(1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	for name, store := range map[string]interface {
		Store
		Purger
	}{"redis": shared, "memory": own} {
		t.Run(name, func(t *testing.T) {
			const answers = purgeBatch + 100
			for i := range answers {
				store.Put(t.Context(), numbered(i), []byte("answer"), time.Hour)
			}
			if n, err := store.Purge(t.Context()); err != nil || n != answers {
				t.Errorf("got %d, %v, want %d", n, err, answers)
			}
			for i := range answers {
				if _, ok := store.Get(t.Context(), numbered(i)); ok {
					t.Fatalf("answer %d is still there", i)
				}
			}
			if n, err := store.Purge(t.Context()); err != nil || n != 0 {
				t.Errorf("the second time: got %d, %v", n, err)
			}
		})
	}
	if got, _ := server.Get("somebody:else"); got != "kept" {
		t.Errorf("got %q of somebody else", got)
	}
}

func TestPurgeSaysThatTheServerIsDown(t *testing.T) {
	server := miniredis.RunT(t)
	r, _ := redisAt(t, server.Addr())
	server.Close()
	if _, err := r.Purge(t.Context()); err == nil {
		t.Error("a server that is down was purged")
	}
}

func numbered(i int) (key Key) {
	binary.LittleEndian.PutUint64(key[:], uint64(i))
	return key
}
