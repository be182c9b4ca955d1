package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A hung process keeps its memory and its socket and serves nobody, so it is killed and replaced. What counts as hung:
//
//   - While it loads: no sign of life for timing.stall, see [activity]. A load that takes an hour to read a huge file from a
//     slow disk does not hang.
//   - While it serves: timing.silences looks at /health in a row that were not answered within timing.check. Its HTTP threads
//     answer that at once whatever the model computes.
//   - While it has requests: /slots not answered within timing.stuck. Its main loop answers that between two batches, so
//     this is more than the slowest batch of a prompt may take.

// watch looks at a server that takes requests until ctx ends, or until it has to be killed: then it returns why. busy tells
// whether the server has requests.
func (s *server) watch(ctx context.Context, t timing, busy func() bool) *failure {
	ctx, cancel := context.WithCancel(ctx)
	var probes sync.WaitGroup
	defer probes.Wait()
	defer cancel()
	ticker := time.NewTicker(t.check)
	defer ticker.Stop()
	turned := make(chan error, 1)
	probing := false
	for silent := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-turned:
			probing = false
			if isTimeout(err) && ctx.Err() == nil {
				return s.failed(fmt.Sprintf("the local model server hung: it has worked on nothing for %v", t.stuck), err)
			}
			continue
		case <-ticker.C:
		}
		status, err := s.get(ctx, s.health, t.check)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && status < http.StatusInternalServerError:
			silent = 0
		default:
			silent++
		}
		if silent >= t.silences {
			return s.failed(fmt.Sprintf("the local model server hung: it did not answer for %v", time.Duration(silent)*t.check), err)
		}
		if !probing && s.slots != "" && busy() {
			probing = true
			probes.Go(func() {
				_, err := s.get(ctx, s.slots, t.stuck)
				turned <- err
			})
		}
	}
}

// get asks for one of the server's pages and returns the status of the answer.
func (s *server) get(ctx context.Context, path string, timeout time.Duration) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := s.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxPage))
	return resp.StatusCode, nil
}

// maxPage bounds what is read of the server's own pages.
const maxPage = 1 << 20

// do sends a request to one of the server's own pages.
func (s *server) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.client.BaseURL.Host+path, body)
	if err != nil {
		return nil, err
	}
	return s.transport.RoundTrip(req)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout()
}

// loading follows a server while it loads its model.
type loading struct {
	server    *server
	timing    timing
	sizeBytes int64
	began     time.Time

	answered bool // it listens
	last     activity
	lastLook time.Time
	lastSign time.Time // of life
}

func newLoading(s *server, t timing, sizeBytes int64) *loading {
	now := time.Now()
	return &loading{server: s, timing: t, sizeBytes: sizeBytes, began: now, lastSign: now}
}

// look returns whether the model is loaded, or why there is no use in waiting any longer.
func (l *loading) look(ctx context.Context) (ready bool, failure *failure) {
	status, err := l.server.get(ctx, l.server.health, healthTimeout)
	if status == http.StatusOK {
		return true, nil
	}
	l.server.settleHealth(status)
	l.answered = l.answered || err == nil
	now := time.Now()
	l.notice(now)
	t := l.timing
	switch {
	case l.server.early && !l.answered && now.Sub(l.began) >= t.listen:
		return false, l.server.failed(fmt.Sprintf("llama-server did not listen within %v; is it a llama-server?", t.listen), err)
	case now.Sub(l.lastSign) >= t.stall:
		return false, l.server.failed(fmt.Sprintf("the local model server hung while loading: no sign of life for %v", t.stall), err)
	case now.Sub(l.began) >= l.most():
		return false, l.server.failed(fmt.Sprintf("the model did not load within %v", l.most().Round(time.Second)), err)
	}
	return false, nil
}

// healthTimeout bounds one look at a server that loads.
const healthTimeout = 2 * time.Second

// most returns how long loading may take at all. A server that computes for ever shows signs of life, too.
func (l *loading) most() time.Duration {
	const slowestDisk = 16 << 20 // bytes in a second
	return l.timing.load + time.Duration(l.sizeBytes/slowestDisk)*time.Second
}

// notice looks for signs of life now and then.
func (l *loading) notice(now time.Time) {
	elapsed := now.Sub(l.lastLook)
	if elapsed < l.timing.stall/8 {
		return
	}
	current := l.server.activity()
	if l.lastLook.IsZero() || current.differs(l.last, elapsed) {
		l.lastSign = now
	}
	l.last, l.lastLook = current, now
}

// activity is what a process and those it started have done since they began.
type activity struct {
	known  bool          // false where the system does not tell
	cpu    time.Duration // spent
	faults uint64        // pages that came from disk
	read   uint64        // bytes, from disk or not
	memory uint64        // resident bytes
	lines  int           // printed
}

func (s *server) activity() activity {
	a := groupActivity(s.process.cmd.Process.Pid)
	a.lines = s.log.count()
	return a
}

// differs reports whether something happened since before. Answering /health takes a little time of a CPU, too, which does
// not count.
func (a activity) differs(before activity, elapsed time.Duration) bool {
	const idle = 100 // part of the time that the gateway's own questions may cost
	return !a.known || a.lines != before.lines || a.faults != before.faults ||
		a.cpu-before.cpu > elapsed/idle || a.cpu < before.cpu ||
		distance(a.memory, before.memory) >= 1<<20 || distance(a.read, before.read) >= 1<<20
}

func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }
