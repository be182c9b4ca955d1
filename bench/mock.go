package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// mock is the upstream. It lives in this process, whose CPU time is not measured.
type mock struct {
	server   *http.Server
	listener net.Listener
	buffers  sync.Pool
	current  atomic.Pointer[shape]
}

func newMock() (*mock, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &mock{listener: listener}
	m.buffers.New = func() any { return new([64 << 10]byte) }
	m.server = &http.Server{Handler: m, ReadHeaderTimeout: 30 * time.Second}
	go m.server.Serve(listener) //nolint:errcheck // always http.ErrServerClosed
	return m, nil
}

func (m *mock) address() string { return m.listener.Addr().String() }

func (m *mock) close() { m.server.Close() }

// ServeHTTP answers the current shape's request, and nothing else: a benchmark of broken requests is worth nothing.
func (m *mock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := m.current.Load()
	want, stream := [][]byte{s.body}, s.stream
	if r.ContentLength == int64(len(s.body)+len(streamMembers)) {
		model := []byte(`{"model":"m"`)
		want, stream = [][]byte{model, []byte(streamMembers), s.body[len(model):]}, true
	}
	if err := m.compare(r.Body, want); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !stream {
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(s.answer.whole))}
		w.Write(s.answer.whole)
		return
	}
	w.Header()["Content-Type"] = []string{"text/event-stream"}
	flusher := http.NewResponseController(w)
	for i, chunk := range s.answer.chunks {
		if i > 0 && s.answer.pause > 0 {
			time.Sleep(s.answer.pause)
		}
		if _, err := w.Write(chunk); err != nil {
			return
		}
		if err := flusher.Flush(); err != nil {
			return
		}
	}
}

// compare reads body to its end and says where it differs from want.
func (m *mock) compare(body io.Reader, want [][]byte) error {
	buffer := m.buffers.Get().(*[64 << 10]byte)
	defer m.buffers.Put(buffer)
	at := 0
	for {
		n, err := body.Read(buffer[:])
		for got := buffer[:n]; len(got) > 0; {
			for len(want) > 0 && len(want[0]) == 0 {
				want = want[1:]
			}
			if len(want) == 0 {
				return fmt.Errorf("more than %d bytes", at)
			}
			c := min(len(got), len(want[0]))
			if !bytes.Equal(got[:c], want[0][:c]) {
				return fmt.Errorf("not the body that was sent, at byte %d or behind", at)
			}
			at += c
			got, want[0] = got[c:], want[0][c:]
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	for _, rest := range want {
		if len(rest) > 0 {
			return fmt.Errorf("only %d bytes", at)
		}
	}
	return nil
}
