package openai

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// firstPing is how long a stream's client hears nothing at most, if it is pinged at all. Up to then an answer has its own
// status and header.
const firstPing = 5 * time.Second

// Pinger tells the client of a stream that it has not been forgotten, while a model is loaded or a queue is long: it sends
// comments, which clients skip. The first one also sends the status 200 and the header. What fails after it is told in the
// stream, and fields that are set after it are told in a comment.
//
// Until Stop returns the Pinger may use the client's http.ResponseWriter, its header too, and nobody else may. All methods
// may be called on a nil Pinger, which never pings.
type Pinger struct {
	interval time.Duration
	left     context.CancelCauseFunc

	// mu guards what follows and, until stopped, w. A ping is sent by the timer's goroutine, which holds mu.
	mu      sync.Mutex
	w       http.ResponseWriter
	timer   *time.Timer
	stopped bool
	sent    http.Header // what the first ping sent, or nil
}

// StartPinger sends a ping after 5 seconds, or after the interval if that is shorter, and one after each further interval.
// If a ping cannot be sent, left is called with the reason, and there
// are no more.
func StartPinger(w http.ResponseWriter, interval time.Duration, left context.CancelCauseFunc) *Pinger {
	p := &Pinger{interval: interval, left: left, w: w}
	p.mu.Lock() // the timer may be fast
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(min(firstPing, interval), p.ping)
	return p
}

// ping sends one ping.
func (p *Pinger) ping() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	// net/http catches what a handler's goroutine does, not this one.
	defer func() {
		if r := recover(); r != nil {
			p.left(fmt.Errorf("sending a ping: panic: %v", r))
		}
	}()
	if p.sent == nil {
		beginStream(p.w)
		p.sent = p.w.Header().Clone()
	}
	_, err := p.w.Write([]byte(": ping\n\n"))
	if err == nil {
		err = http.NewResponseController(p.w).Flush()
	}
	if err != nil {
		p.left(&llmgateway.Error{Kind: llmgateway.Canceled, Message: "the client closed the stream", Err: err})
		return
	}
	p.timer.Reset(p.interval)
}

// Stop ends the pings and waits for one that is being sent. It may be called more than once.
func (p *Pinger) Stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
}

// began stops the pinger and reports whether it has sent the header.
func (p *Pinger) began() bool {
	p.Stop()
	return p != nil && p.sent != nil
}

// late returns a comment with the fields that were set too late to be sent, or nothing.
func (p *Pinger) late() string {
	var comment strings.Builder
	header := p.w.Header()
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if _, sent := p.sent[name]; sent {
			continue
		}
		for _, value := range header[name] {
			comment.WriteString(": " + name + ": " + oneLine.Replace(value) + "\n")
		}
	}
	if comment.Len() == 0 {
		return ""
	}
	return comment.String() + "\n"
}

// oneLine keeps a value from ending its comment.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")
