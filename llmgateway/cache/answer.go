package cache

import (
	"encoding/binary"
	"errors"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Answer is a whole answer as it came: the chunks of a stream, or the one object of an answer that was not streamed.
type Answer struct {
	// Created is when it was complete, to the second.
	Created time.Time
	// Events are its pieces, in order.
	Events []llmgateway.Event
}

// streamed reports whether the answer came as a stream.
func (a *Answer) streamed() bool { return len(a.Events) > 0 && !a.Events[0].Whole }

// all yields the events.
func (a *Answer) all() iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for _, event := range a.Events {
			if !yield(event, nil) {
				return
			}
		}
	}
}

// codecVersion is the first byte of what a store holds.
const codecVersion = 3

// headSize is what comes before the events: the version, and when the answer was complete, in Unix seconds.
const headSize = 1 + 8

// Flags of an event in a store.
const (
	carries = 1 << iota
	whole
	finishes
	counts
	costs
	native
)

// maxHead bounds what an event takes beside its data and finish reason.
const maxHead = 1 + 7*binary.MaxVarintLen64 + 8

// recording is an answer in the form that a store holds, while it comes: each event is copied once, for those who wait and for
// the store.
type recording struct {
	b      []byte
	expect int  // bytes that it will take, as a guess
	end    bool // an event was a whole answer, or had a finish reason
}

// add takes in an event, and returns it with its data where it lasts.
func (r *recording) add(event llmgateway.Event) llmgateway.Event {
	need := maxHead + len(event.Data) + len(event.FinishReason)
	switch {
	case r.b == nil:
		r.b = make([]byte, headSize, max(r.expect, headSize+need))
	case cap(r.b)-len(r.b) < need:
		r.b = slices.Grow(r.b, max(need, cap(r.b)))
	}
	var flags byte
	set := func(flag byte, is bool) {
		if is {
			flags |= flag
		}
	}
	set(carries, event.Carries)
	set(whole, event.Whole)
	set(finishes, event.FinishReason != "")
	set(counts, event.Usage != nil)
	set(costs, event.Usage != nil && event.Usage.Cost != nil)
	set(native, event.Native)
	r.end = r.end || flags&(whole|finishes) != 0
	r.b = appendBytes(append(r.b, flags), event.Data)
	event.Data = r.b[len(r.b)-len(event.Data) : len(r.b) : len(r.b)]
	if flags&finishes != 0 {
		r.b = appendBytes(r.b, []byte(event.FinishReason))
	}
	if u := event.Usage; u != nil {
		for _, n := range []int{u.PromptTokens, u.CompletionTokens, u.TotalTokens, u.CachedTokens, u.ReasoningTokens} {
			r.b = binary.AppendVarint(r.b, int64(n))
		}
		if u.Cost != nil {
			r.b = binary.LittleEndian.AppendUint64(r.b, math.Float64bits(*u.Cost))
		}
	}
	return event
}

// stored returns what a store is to hold of an answer that was complete at a time. Nothing may be added after that.
func (r *recording) stored(created time.Time) []byte {
	r.b[0] = codecVersion
	binary.LittleEndian.PutUint64(r.b[1:], uint64(created.Unix()))
	if spare := cap(r.b) - len(r.b); spare > len(r.b)/4 {
		return slices.Clone(r.b)
	}
	return r.b
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

// errCorrupt means that a store gave back something else than was put into it.
var errCorrupt = errors.New("not a stored answer")

// UnmarshalBinary implements encoding.BinaryUnmarshaler for what a store holds. The answer's events are parts of b.
func (a *Answer) UnmarshalBinary(b []byte) error {
	if len(b) <= headSize || b[0] != codecVersion {
		return errCorrupt
	}
	a.Created = time.Unix(int64(binary.LittleEndian.Uint64(b[1:])), 0)
	a.Events = nil
	for d := (decoder{b: b[headSize:]}); len(d.b) > 0; {
		event := d.event()
		event.More = len(d.b) > 0
		if d.failed {
			return errCorrupt
		}
		a.Events = append(a.Events, event)
	}
	return nil
}

// decoder reads from the front of b, and zeros once it has failed.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) event() llmgateway.Event {
	flags := d.byte()
	event := llmgateway.Event{
		Data: d.bytes(), Carries: flags&carries != 0, Whole: flags&whole != 0, Native: flags&native != 0,
	}
	if flags&finishes != 0 {
		event.FinishReason = string(d.bytes())
	}
	if flags&counts != 0 {
		event.Usage = d.usage(flags&costs != 0)
	}
	return event
}

func (d *decoder) usage(costs bool) *llmgateway.Usage {
	u := new(llmgateway.Usage)
	for _, n := range []*int{&u.PromptTokens, &u.CompletionTokens, &u.TotalTokens, &u.CachedTokens, &u.ReasoningTokens} {
		*n = int(d.varint())
	}
	if costs {
		if len(d.b) < 8 {
			d.fail()
			return u
		}
		cost := math.Float64frombits(binary.LittleEndian.Uint64(d.b))
		u.Cost, d.b = &cost, d.b[8:]
	}
	return u
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.failed = true
		return 0
	}
	first := d.b[0]
	d.b = d.b[1:]
	return first
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	part := d.b[:n:n]
	d.b = d.b[n:]
	return part
}

func (d *decoder) fail() { d.failed, d.b = true, nil }
