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

// Pinger tells a client that it has not been forgotten, while a model is loaded or a queue is long: it sends what clients
// skip, comments in a stream and white space in front of a JSON object. The first one also sends the status 200 and the
// header. What fails after it is told in the body, and fields that are set after it are told in a comment or not at all.
//
// Until Stop returns the Pinger may use the client's http.ResponseWriter, its header too, and nobody else may. All methods
// may be called on a nil Pinger, which never pings.
type Pinger struct {
	interval time.Duration
	left     context.CancelCauseFunc
	begin    func(http.ResponseWriter) // sends the status and the header
	text     string

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
	p := &Pinger{interval: interval, left: left, begin: beginStream, text: ": ping\n\n", w: w}
	return p.start(min(firstPing, interval))
}

// StartPadding does the same for a client that waits for a whole answer: it sends white space in front of it, first after
// the time given and then after each further interval.
func StartPadding(w http.ResponseWriter, first, interval time.Duration, left context.CancelCauseFunc) *Pinger {
	p := &Pinger{interval: interval, left: left, begin: beginWhole, text: " ", w: w}
	return p.start(first)
}

func (p *Pinger) start(first time.Duration) *Pinger {
	p.mu.Lock() // the timer may be fast
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(first, p.ping)
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
		p.begin(p.w)
		p.sent = p.w.Header().Clone()
	}
	_, err := p.w.Write([]byte(p.text))
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

// Began stops the pinger and reports whether it has sent the status and the header, so that an error cannot be told by them
// any more.
func (p *Pinger) Began() bool {
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
