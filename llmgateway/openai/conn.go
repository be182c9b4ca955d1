package openai

import (
	"context"
	"io"
	"net"
)

// Dialer connects to a server, as http.Transport's DialContext.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// DialForBodies returns dial with connections that send request bodies from where they lie in memory. net/http alone
// would copy them through a small buffer: a megabyte takes thirty copies and as many system calls then.
//
// It works without TLS only, which has to copy anyway.
func DialForBodies(dial Dialer) Dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn{c}, nil
	}
}

// conn is a connection that knows payloads.
type conn struct{ net.Conn }

// ReadFrom implements io.ReaderFrom, by which net/http sends bodies. It hands over a payload inside an io.LimitedReader,
// with the beginning read already; whatever else comes is copied.
func (c conn) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if p, ok := l.R.(*payload); ok && p.left() == l.N {
			n, err := p.writeTo(c.Conn)
			l.N -= n
			return n, err
		}
	}
	return io.Copy(c.Conn, r)
}

// Interface guards
var _ io.ReaderFrom = conn{}
