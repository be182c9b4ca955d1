package local

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// server is one run of llama-server: a process, its socket, and how to talk to it.
type server struct {
	process   *process
	socket    string
	log       *serverLog
	transport *http.Transport
	client    *openai.Client
	unload    chan struct{} // closed to end it although the engine stays
	answered  atomic.Bool   // a whole answer came from it
}

// start starts llama-server for the engine's configuration.
func (e *Engine) start() (*server, *failure) {
	found, failure := e.files.check(e.key.Config, 0)
	if failure != nil {
		return nil, failure
	}
	socket, err := sockets.reserve()
	if err != nil {
		return nil, newFailure("there is no place for a socket", err)
	}
	s := &server{socket: socket, log: &serverLog{logger: e.logger}, unload: make(chan struct{})}
	s.process, err = startProcess(found.binary, e.key.args(socket, e.key.context(found.model)), environment(os.Environ()), s.log)
	if err != nil {
		sockets.release(socket)
		return nil, newFailure("llama-server could not be started", err)
	}
	s.transport = &http.Transport{
		DialContext: openai.DialForBodies(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}),
		// A connection that is kept may be closed by the server just when it is used again; a new one takes microseconds.
		DisableKeepAlives:  true,
		DisableCompression: true,
		WriteBufferSize:    16 << 10,
	}
	s.client = &openai.Client{BaseURL: &url.URL{Scheme: "http", Host: "llama", Path: "/v1"}, Transport: s.transport}
	return s, nil
}

// end ends the process, and removes what it leaves.
func (s *server) end(patience time.Duration) {
	s.process.stop(patience)
	sockets.release(s.socket)
}

// healthTimeout bounds one look at a server. One that does not answer in time is still loading.
const healthTimeout = 2 * time.Second

// healthy reports whether the model is loaded. Until then, llama-server answers 503.
func (s *server) healthy() bool {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://llama/health", nil)
	if err != nil {
		return false
	}
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
	return resp.StatusCode == http.StatusOK
}
