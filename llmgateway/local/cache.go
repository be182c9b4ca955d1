package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// promptCache saves what a server's slots have computed before it ends, and gives it back to the next, so that the first
// turn of a conversation after a restart is as fast as any. All it can lose is that: whatever goes wrong, the server
// serves. A nil promptCache does nothing.
type promptCache struct {
	folder *cacheFolder
	logger *slog.Logger
	// tokenBytes is about what one token takes.
	tokenBytes uint64
	// spare is what saving leaves free on the disk, in bytes.
	spare uint64
	// restored is what the slots held when the server began to serve.
	restored []cachedSlot
}

// newPromptCache returns the cache of a server that is going to be started, or nil if it shall have none.
func newPromptCache(key Key, found found, logger *slog.Logger) *promptCache {
	if key.CacheDir == "" {
		return nil
	}
	key.Binary = found.binary
	folder, err := newCacheFolder(key)
	if err != nil {
		logger.Warn("prompts cannot be saved", "error", err)
		return nil
	}
	const unknown = 256 << 10
	c := &promptCache{folder: folder, logger: logger, tokenBytes: unknown, spare: spareSpace}
	if tokens := uint64(max(key.context(found.model), 0)) * uint64(key.slots()); tokens > 0 {
		c.tokenBytes = max(key.memory(found.model, nil).KV/tokens, 1)
	}
	return c
}

// restore gives the slots of a server that has just loaded its model what the one before knew. It returns when that is
// done, or when ctx ends.
func (s *server) restore(ctx context.Context) {
	c := s.cache
	if c == nil {
		return
	}
	lock, err := c.folder.lock()
	if err != nil {
		return // another server is using it
	}
	defer lock.Close()
	began := time.Now()
	c.folder.removeStaleCaches()
	m := c.folder.take()
	if m == nil {
		return
	}
	tokens := 0
	for i, slot := range m.Slots {
		if !c.folder.whole(slot) {
			c.logger.Warn("a saved prompt is damaged", "slot", slot.ID)
			continue
		}
		restored, err := s.slotAction(ctx, slot.ID, "restore", slot.File)
		if ctx.Err() != nil {
			// It is not the files' fault.
			c.restored = append(c.restored, m.Slots[i:]...)
			break
		}
		_, refused := errors.AsType[*refusedError](err)
		switch {
		case refused:
			c.logger.Warn("a saved prompt was refused", "slot", slot.ID, "error", err)
		case err != nil:
			c.logger.Warn("restoring prompts ended the server", "slot", slot.ID, "error", err)
			return
		default:
			tokens += restored.Restored
			c.restored = append(c.restored, slot)
		}
	}
	if err := c.folder.write(c.restored); err != nil {
		c.logger.Warn("saved prompts are lost", "error", err)
	}
	c.logger.Info("prompts restored", "slots", len(c.restored), "tokens", tokens, "duration", time.Since(began))
}

// restored returns what the slots held when the server began to serve.
func (s *server) restored() []cachedSlot {
	if s.cache == nil {
		return nil
	}
	return s.cache.restored
}

// save keeps what the slots have computed. It returns when that is done, or when ctx ends. There is no request any more.
func (s *server) save(ctx context.Context) {
	c := s.cache
	if c == nil {
		return
	}
	began := time.Now()
	used, err := s.usedSlots(ctx)
	if err != nil {
		c.logger.Warn("prompts are not saved", "error", err)
		return
	}
	if len(used) == 0 {
		return // what is saved is what the slots hold
	}
	if err := c.folder.make(); err != nil {
		c.logger.Warn("prompts are not saved", "error", err)
		return
	}
	lock, err := c.folder.lock()
	if err != nil {
		return // another server is using it
	}
	defer lock.Close()
	// What was restored and not used since needs no saving, unless it was used up.
	saved := slices.DeleteFunc(slices.Clone(c.restored), func(slot cachedSlot) bool {
		return slices.ContainsFunc(used, func(u usedSlot) bool { return u.ID == slot.ID })
	})
	size := int64(0)
	for _, slot := range used {
		kept, err := s.saveSlot(ctx, slot)
		if err != nil {
			c.logger.Warn("a prompt is not saved", "slot", slot.ID, "tokens", slot.Tokens, "error", err)
			continue
		}
		saved = append(saved, kept)
		size += kept.Bytes
	}
	if err := c.folder.write(saved); err != nil {
		c.logger.Warn("prompts are not saved", "error", err)
		return
	}
	if len(saved) == 0 {
		return
	}
	c.logger.Info("prompts saved", "slots", len(saved), "bytes", size, "duration", time.Since(began))
}

// saveSlot writes one slot's file, if there is room for it.
func (s *server) saveSlot(ctx context.Context, slot usedSlot) (cachedSlot, error) {
	if err := ctx.Err(); err != nil {
		return cachedSlot{}, context.Cause(ctx)
	}
	folder := s.cache.folder
	need := uint64(slot.Tokens) * s.cache.tokenBytes
	need += s.cache.spare
	if free, known := freeSpace(folder.path); known && free < need {
		return cachedSlot{}, fmt.Errorf("the disk is too full: %d MiB of %d MiB are free", free>>20, need>>20)
	}
	name, err := folder.create(slot.ID)
	if err != nil {
		return cachedSlot{}, err
	}
	answer, err := s.slotAction(ctx, slot.ID, "save", name)
	var size int64
	var sum uint32
	if err == nil {
		size, sum, err = folder.checksum(name)
	}
	if err == nil && size != answer.Written {
		err = fmt.Errorf("%d of %d bytes were written", size, answer.Written)
	}
	if err != nil {
		// Half a file would take the room of the next.
		_ = os.Remove(filepath.Join(folder.path, name))
		return cachedSlot{}, err
	}
	return cachedSlot{ID: slot.ID, File: name, Tokens: answer.Saved, Bytes: size, CRC: sum, Prompt: s.held(slot.ID)}, nil
}

// spareSpace is what saving leaves to others.
const spareSpace = 1 << 30

// caching returns a context for what the cache does with a server, which is bounded. It ends when end is closed, too.
func (e *Engine) caching(end <-chan struct{}) (ctx context.Context, cancel func()) {
	ctx, stop := context.WithTimeout(context.Background(), e.timing.caching)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-end:
			stop()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		stop()
		waiting.Wait()
	}
}

// Settle waits until an engine that everybody has let go of has saved its prompts and ended its process, or until ctx ends.
// It returns at once if the engine is still held, or has nothing to save. A gateway calls it before it exits, because its
// child's life ends with its own.
func (e *Engine) Settle(ctx context.Context) {
	e.mu.Lock()
	saving := e.closed && e.saving
	e.mu.Unlock()
	if !saving {
		return
	}
	select {
	case <-e.done:
	case <-ctx.Done():
	}
}

// usedSlot is a slot that has computed something.
type usedSlot struct {
	ID     int `json:"id"`
	Task   int `json:"id_task"`
	Tokens int `json:"n_prompt_tokens"`
}

// slotsTimeout bounds the question what there is to save. The main loop may be finishing the batch of a request that left.
const slotsTimeout = 5 * time.Second

// usedSlots returns the slots that have had requests and hold something, the last used first.
func (s *server) usedSlots(ctx context.Context) ([]usedSlot, error) {
	ctx, cancel := context.WithTimeout(ctx, slotsTimeout)
	defer cancel()
	resp, err := s.do(ctx, http.MethodGet, s.slots, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var slots []usedSlot
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPage)).Decode(&slots); err != nil {
		return nil, err
	}
	slots = slices.DeleteFunc(slots, func(u usedSlot) bool { return u.Tokens <= 0 })
	slices.SortFunc(slots, func(a, b usedSlot) int { return b.Task - a.Task })
	return slots, nil
}

// slotAnswer is what llama-server says of a slot's file.
type slotAnswer struct {
	Saved    int   `json:"n_saved"`
	Written  int64 `json:"n_written"`
	Restored int   `json:"n_restored"`
}

// refusedError is an answer of llama-server's that it does not do something.
type refusedError struct{ text string }

func (r *refusedError) Error() string { return r.text }

// slotAction has llama-server write or read the file of one slot, in its folder.
func (s *server) slotAction(ctx context.Context, id int, action, file string) (slotAnswer, error) {
	body, err := json.Marshal(map[string]string{"filename": filepath.Base(file)})
	if err != nil {
		return slotAnswer{}, err
	}
	resp, err := s.do(ctx, http.MethodPost, fmt.Sprintf("%s/%d?action=%s", s.slots, id, action), bytes.NewReader(body))
	if err != nil {
		return slotAnswer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return slotAnswer{}, err
	}
	var answer slotAnswer
	if resp.StatusCode != http.StatusOK {
		return answer, &refusedError{fmt.Sprintf("status %d: %s", resp.StatusCode, data)}
	}
	return answer, json.Unmarshal(data, &answer)
}
