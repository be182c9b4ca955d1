package openai

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// smallBody is the size up to which a body is copied to go out with its header in one write.
const smallBody = 12 << 10

// bodies returns a function that makes bodies of an HTTP request from the segments.
//
// net/http writes the header ahead of a body unless it knows the body to be in memory, and it knows a few types only. So a
// small body becomes one of them; that it is copied also means that nobody has to be told when the transport is done.
func bodies(body *llmgateway.Body, segments [][]byte, size int) func() io.ReadCloser {
	if size > smallBody {
		return func() io.ReadCloser { return newPayload(body, segments) }
	}
	small := bytes.Join(segments, nil)
	return func() io.ReadCloser { return io.NopCloser(bytes.NewReader(small)) }
}

// payload is a spliced body on its way to a server. It keeps the request's bytes from going back to their pool until the
// transport has closed it, which may be long after the attempt was given up.
type payload struct {
	body *llmgateway.Body

	// mu makes Close wait for a Read in progress: HTTP/2 closes bodies while it reads them.
	mu       sync.Mutex
	segments [][]byte
	sent     int // bytes of segments[0] that were read
	closed   bool
}

var errPayloadClosed = errors.New("request body closed")

func newPayload(body *llmgateway.Body, segments [][]byte) *payload {
	body.Retain()
	return &payload{body: body, segments: segments}
}

// Read implements io.Reader.
func (p *payload) Read(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, errPayloadClosed
	}
	for n < len(b) && len(p.segments) > 0 {
		c := copy(b[n:], p.segments[0][p.sent:])
		n += c
		p.sent += c
		if p.sent == len(p.segments[0]) {
			p.segments, p.sent = p.segments[1:], 0
		}
	}
	if n == 0 && len(p.segments) == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// left returns how much has not been read yet.
func (p *payload) left() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := -p.sent
	for _, segment := range p.segments {
		left += len(segment)
	}
	return int64(left)
}

// writeTo writes what has not been read yet to a connection, from where it lies. It does not hold mu meanwhile, so that
// Close need not wait for a slow server; the bytes stay, as a read of their own would make them.
func (p *payload) writeTo(conn io.Writer) (int64, error) {
	rest, err := p.take()
	if err != nil {
		return 0, err
	}
	defer p.body.Release()
	return rest.WriteTo(conn)
}

// take returns what has not been read yet, with a reference to the body.
func (p *payload) take() (net.Buffers, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errPayloadClosed
	}
	p.body.Retain()
	// A copy, because writing changes it: payloads of a repeated request share their segments.
	rest := slices.Clone(net.Buffers(p.segments))
	if p.sent > 0 {
		rest[0] = rest[0][p.sent:]
	}
	p.segments, p.sent = nil, 0
	return rest, nil
}

// Close implements io.Closer.
func (p *payload) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		p.body.Release()
	}
	return nil
}
