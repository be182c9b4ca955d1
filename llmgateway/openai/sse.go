package openai

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

const (
	eventBuffer = 16 << 10
	// maxEvent bounds one event. A generated image comes as a few megabytes of base64 in one event.
	maxEvent = 32 << 20
)

var eventBuffers = sync.Pool{New: func() any { return new([eventBuffer]byte) }}

// eventReader reads the data of server-sent events, for lines that end in LF or CRLF.
//
// Comments and the fields event, id and retry are skipped: OpenAI's API says everything in data. A field named error is
// read like data, as some servers report failures in one.
type eventReader struct {
	r          io.Reader
	buf        []byte
	start, end int   // buf[start:end] is unread
	err        error // the reader's, once it has one
	joined     []byte
}

func newEventReader(r io.Reader) *eventReader {
	return &eventReader{r: r, buf: eventBuffers.Get().(*[eventBuffer]byte)[:]}
}

// free gives the buffer back. Data returned by next is not valid any more.
func (e *eventReader) free() {
	if len(e.buf) == eventBuffer {
		eventBuffers.Put((*[eventBuffer]byte)(e.buf))
	}
	e.buf = nil
}

// next returns the data of the next event, valid until the next call, or the reader's error. At the end it is io.EOF; an
// event that the end cuts off is dropped, as the specification says.
func (e *eventReader) next() ([]byte, error) {
	var data []byte
	found := false
	size := 0
	for {
		line, err := e.line()
		if err != nil {
			return nil, err
		}
		if found {
			if size += len(line) + 1; size > maxEvent {
				return nil, errEventTooLarge
			}
		}
		if len(line) == 0 {
			if found {
				return data, nil
			}
			continue
		}
		value, ok := field(line)
		if !ok {
			continue
		}
		switch {
		case !found:
			data, found = value, true
			// Reading on may move the buffer; the data must survive unless the event ends right here.
			if !e.blankFollows() {
				e.joined = append(e.joined[:0], data...)
				data = e.joined
			}
		default:
			e.joined = append(append(e.joined, '\n'), value...)
			data = e.joined
		}
	}
}

// field returns the value of a data or error line.
func field(line []byte) (value []byte, ok bool) {
	if value, ok = bytes.CutPrefix(line, []byte("data:")); !ok {
		if value, ok = bytes.CutPrefix(line, []byte("error:")); !ok {
			if value, ok = bytes.CutPrefix(line, []byte("\xef\xbb\xbfdata:")); !ok {
				return nil, string(line) == "data"
			}
		}
	}
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return value, true
}

// blankFollows reports whether the next line is in the buffer and empty.
func (e *eventReader) blankFollows() bool {
	rest := e.buf[e.start:e.end]
	return len(rest) > 0 && rest[0] == '\n' || len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n'
}

// more reports whether what comes next is in the buffer as a whole: another chunk, or the end marker with the end of the
// answer. A comment is none, and neither is an end marker alone: what follows them may be slow.
func (e *eventReader) more() bool {
	rest := bytes.TrimLeft(e.buf[e.start:e.end], "\r\n")
	event, _, ok := bytes.Cut(rest, []byte("\n\n"))
	if !ok {
		return false
	}
	line, _, _ := bytes.Cut(event, []byte("\n"))
	value, ok := field(line)
	return ok && (errors.Is(e.err, io.EOF) || string(value) != "[DONE]")
}

// line returns the next line without its end, valid until the buffer is filled again.
func (e *eventReader) line() ([]byte, error) {
	for scanned := 0; ; {
		unread := e.buf[e.start:e.end]
		if n := bytes.IndexByte(unread[scanned:], '\n'); n >= 0 {
			line := unread[:scanned+n]
			e.start += scanned + n + 1
			if len(line) > 0 && line[len(line)-1] == '\r' {
				line = line[:len(line)-1]
			}
			return line, nil
		}
		scanned = len(unread)
		if e.err != nil {
			return nil, e.err
		}
		if err := e.fill(); err != nil {
			return nil, err
		}
	}
}

var errEventTooLarge = &llmgateway.Error{
	Kind: llmgateway.Upstream, Message: "the provider sent an event of more than " + strconv.Itoa(maxEvent>>20) + " MiB",
}

// fill reads once. Like bufio.Reader it gives up on a reader that keeps returning nothing.
func (e *eventReader) fill() error {
	if e.start > 0 {
		copy(e.buf, e.buf[e.start:e.end])
		e.end -= e.start
		e.start = 0
	}
	if e.end == len(e.buf) {
		if len(e.buf) >= maxEvent {
			return errEventTooLarge
		}
		larger := make([]byte, min(4*len(e.buf), maxEvent))
		copy(larger, e.buf)
		e.buf = larger
	}
	for range 100 {
		n, err := e.r.Read(e.buf[e.end:])
		e.end += n
		e.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
