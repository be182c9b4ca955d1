package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

// Download fetches a file of [Client.Files] to dest. If it returns without an error, dest is whole and has the hub's
// checksum. It goes on with what an earlier download left in dest.part, and waits for one that is under way elsewhere.
// What is at dest already stays if it is the same file; another file is replaced only if told to.
//
// If ctx is canceled, what is there is kept for the next time.
func (c *Client) Download(ctx context.Context, r Reference, f File, dest string, replace bool) error {
	if err := checkPath(f.Path); err != nil {
		return err
	}
	if there, err := c.isThere(ctx, f, dest, replace); there || err != nil {
		return err
	}
	p, err := lockPart(ctx, dest+".part", c.say)
	if err != nil {
		return err
	}
	defer p.close()
	// It may have been under way elsewhere.
	if there, err := c.isThere(ctx, f, dest, replace); there || err != nil {
		return err
	}
	s := &source{client: c, ref: r, file: f}
	if err := c.retry(ctx, "finding "+f.Path, func() (bool, error) { return false, s.locate(ctx) }); err != nil {
		return c.explain(r, err)
	}
	if err := c.fill(ctx, s, p); err != nil {
		return c.explain(r, fmt.Errorf("downloading %s: %w", f.Path, err))
	}
	if err := c.verify(ctx, s.file, p.file); err != nil {
		if errors.Is(err, errCorrupt) {
			err = errors.Join(err, p.discard())
		}
		return fmt.Errorf("downloading %s: %w", f.Path, err)
	}
	return p.finish(dest)
}

var errCorrupt = errors.New("what arrived does not have the hub's checksum; it was deleted, try again")

// isThere reports whether the file at dest is f.
func (c *Client) isThere(ctx context.Context, f File, dest string, replace bool) (bool, error) {
	have, err := os.Open(dest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer have.Close()
	stat, err := have.Stat()
	if err != nil {
		return false, err
	}
	if !stat.Mode().IsRegular() {
		return false, fmt.Errorf("%s is there and is no file", dest)
	}
	err = errCorrupt
	if stat.Size() == f.SizeBytes {
		err = c.verify(ctx, f, have)
	}
	switch {
	case err == nil:
		c.say("%s is there already", dest)
		return true, nil
	case !errors.Is(err, errCorrupt):
		return false, err
	case !replace:
		return false, fmt.Errorf("%s is there and is not the hub's file; to replace it, say --force", dest)
	default:
		return false, nil
	}
}

// verify compares a file with its checksum.
func (c *Client) verify(ctx context.Context, f File, have *os.File) error {
	stat, err := have.Stat()
	if err != nil {
		return err
	}
	if stat.Size() != f.SizeBytes {
		return errCorrupt
	}
	if f.SHA256 == "" {
		c.say("the hub tells no checksum of %s; only its size was compared", f.Path)
		return nil
	}
	hash := sha256.New()
	buf := make([]byte, 1<<20)
	for done := int64(0); done < f.SizeBytes; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := have.ReadAt(buf[:min(int64(len(buf)), f.SizeBytes-done)], done)
		if n == 0 && err != nil {
			return err
		}
		hash.Write(buf[:n])
		done += int64(n)
		c.progress(Progress{Name: f.Path, Checking: true, Done: done, Total: f.SizeBytes})
	}
	if hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
		return errCorrupt
	}
	return nil
}

func (c *Client) progress(p Progress) {
	if c.Progress != nil {
		c.Progress(p)
	}
}

// fill fetches what is missing of a part.
func (c *Client) fill(ctx context.Context, s *source, p *part) error {
	changed, err := p.resume(s.identity(), s.file.SizeBytes, c.timing.chunk)
	if err != nil {
		return err
	}
	if changed {
		c.say("%s changed on the hub; beginning anew", s.file.Path)
	}
	if err := checkSpace(filepath.Dir(p.path), s.file.SizeBytes-p.done()); err != nil {
		return err
	}
	err = c.fetch(ctx, s, p, false)
	if f, ok := errors.AsType[*tryError](err); ok && f.noRange {
		c.say("%v; %s cannot go on where it was, and comes in one piece", err, s.file.Path)
		if err := p.begin(s.identity(), s.file.SizeBytes, max(s.file.SizeBytes, 1)); err != nil {
			return err
		}
		err = c.fetch(ctx, s, p, true)
		if err != nil {
			p.forget(0)
		}
	}
	return errors.Join(err, p.save())
}

// checkSpace reports whether a file system has room.
func checkSpace(dir string, need int64) error {
	free, ok := freeBytes(dir)
	if ok && need > free {
		return fmt.Errorf("%s has room for %s, and %s are needed", dir, terminal.Bytes(free), terminal.Bytes(need))
	}
	return nil
}

// fetch fetches the missing chunks, several at once; with whole, the only one in one piece.
func (c *Client) fetch(ctx context.Context, s *source, p *part, whole bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	chunks := make(chan int, len(p.state.Done))
	for i := range p.state.Done {
		if begin, end := p.missing(i); begin < end {
			chunks <- i
		}
	}
	close(chunks)

	var workers sync.WaitGroup
	connections := c.Connections
	if connections <= 0 {
		connections = 4
	}
	for range min(connections, len(chunks)) {
		workers.Go(func() {
			for i := range chunks {
				if ctx.Err() != nil {
					return
				}
				if err := c.fetchChunk(ctx, s, p, i, whole); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	stopWatching := c.watch(s, p)
	workers.Wait()
	stopWatching()
	return context.Cause(ctx)
}

// watch tells how far a part is, and writes it down now and then, until it is stopped.
func (c *Client) watch(s *source, p *part) (stop func()) {
	tell := func() {
		c.progress(Progress{Name: s.file.Path, Done: p.done(), Total: s.file.SizeBytes})
	}
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		saved := time.Now()
		for {
			tell()
			select {
			case <-done:
				tell()
				return
			case <-tick.C:
			}
			if time.Since(saved) >= c.timing.save {
				_ = p.save() // the last save counts
				saved = time.Now()
			}
		}
	})
	return func() {
		close(done)
		watcher.Wait()
	}
}

// fetchChunk fetches what is missing of a chunk, over as many connections as it takes.
func (c *Client) fetchChunk(ctx context.Context, s *source, p *part, i int, whole bool) error {
	return c.retry(ctx, s.file.Path, func() (bool, error) {
		if whole {
			p.forget(i)
		}
		began, _ := p.missing(i)
		err := c.fetchOnce(ctx, s, p, i, whole)
		reached, _ := p.missing(i)
		return !whole && reached > began, err
	})
}

// fetchOnce fetches over one connection. One that is silent for too long is given up.
func (c *Client) fetchOnce(ctx context.Context, s *source, p *part, i int, whole bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.timing.stall, func() { cancel(errStalled) })
	defer silence.Stop()

	begin, end := p.missing(i)
	resp, err := s.open(ctx, begin, end, whole)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && begin != 0 {
		return &tryError{err: errors.New("the server began anew"), retry: true}
	}
	buf := make([]byte, 256<<10)
	for begin < end {
		n, err := resp.Body.Read(buf[:min(int64(len(buf)), end-begin)])
		if n > 0 {
			silence.Reset(c.timing.stall)
			if err := p.write(i, buf[:n]); err != nil {
				return fmt.Errorf("writing: %w", err)
			}
			begin += int64(n)
		}
		switch {
		case begin == end:
			return nil
		case errors.Is(err, io.EOF):
			return transportError(ctx, resp.Request.URL, io.ErrUnexpectedEOF)
		case err != nil:
			return transportError(ctx, resp.Request.URL, err)
		}
	}
	return nil
}
