package cache

import (
	"encoding/binary"
	"errors"
	"iter"
	"math"
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
const codecVersion = 2

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

// MarshalBinary implements encoding.BinaryMarshaler. It never fails.
func (a *Answer) MarshalBinary() ([]byte, error) {
	size := 1 + 2*binary.MaxVarintLen64
	for _, event := range a.Events {
		size += 1 + binary.MaxVarintLen32 + len(event.Data)
		if event.FinishReason != "" || event.Usage != nil {
			size += maxHead + len(event.FinishReason)
		}
	}
	b := append(make([]byte, 0, size), codecVersion)
	b = binary.AppendVarint(b, a.Created.Unix())
	b = binary.AppendUvarint(b, uint64(len(a.Events)))
	for i := range a.Events {
		b = appendEvent(b, &a.Events[i])
	}
	return b, nil
}

func appendEvent(b []byte, event *llmgateway.Event) []byte {
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
	b = appendBytes(append(b, flags), event.Data)
	if flags&finishes != 0 {
		b = appendBytes(b, []byte(event.FinishReason))
	}
	if u := event.Usage; u != nil {
		for _, n := range []int{u.PromptTokens, u.CompletionTokens, u.TotalTokens, u.CachedTokens, u.ReasoningTokens} {
			b = binary.AppendVarint(b, int64(n))
		}
		if u.Cost != nil {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(*u.Cost))
		}
	}
	return b
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

// errCorrupt means that a store gave back something else than was put into it.
var errCorrupt = errors.New("not a stored answer")

// UnmarshalBinary implements encoding.BinaryUnmarshaler. The answer's events are parts of b.
func (a *Answer) UnmarshalBinary(b []byte) error {
	d := decoder{b: b}
	if d.byte() != codecVersion {
		return errCorrupt
	}
	a.Created = time.Unix(d.varint(), 0)
	n := d.uvarint()
	if n > uint64(len(b)) { // an event takes more than a byte
		return errCorrupt
	}
	a.Events = make([]llmgateway.Event, 0, n)
	for i := range n {
		event := d.event()
		event.More = i+1 < n
		a.Events = append(a.Events, event)
	}
	if d.failed || len(d.b) > 0 || n == 0 {
		return errCorrupt
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
