package local

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// server is one run of llama-server, or of another program: a process, where it listens, and how to talk to it.
type server struct {
	process   *process
	socket    string // or empty if it listens on a port
	log       *serverLog
	transport *http.Transport
	client    *openai.Client
	leases    int         // generations; the engine's mu guards it
	loaded    time.Time   // when it began to take requests; the engine's mu guards it
	answered  atomic.Bool // a whole answer came from it

	health     string // the page that says 200 once the model is loaded
	healthElse string // the page to look at if there is no such page
	slots      string // the page that its main loop answers, or empty
	early      bool   // it listens before it loads

	cache *promptCache         // or nil
	held  func(slot int) chain // the prompt that a slot holds

	modelPath string
	model     fileID // of the file that it loaded
}

// start starts llama-server for the engine's configuration.
func (e *Engine) start() (*server, *failure) {
	found, failure := e.files.check(e.key.Config, 0)
	if failure != nil {
		return nil, failure
	}
	log := &serverLog{logger: e.logger}
	if e.key.Command != (Command{}) {
		return e.key.Command.start(found.binary, log)
	}
	socket, err := sockets.reserve()
	if err != nil {
		return nil, newFailure("there is no place for a socket", err)
	}
	s := &server{
		socket: socket, log: log, health: "/health", slots: "/slots", early: true,
		modelPath: e.key.ModelPath, model: identify(parts(e.key.ModelPath)...),
	}
	args := append(e.key.stretched(found.model), e.key.args(socket, e.key.context(found.model))...)
	s.held = func(slot int) chain { return e.queue.held(s, slot) }
	if s.cache = newPromptCache(e.key, found, e.logger); s.cache != nil {
		args = append([]string{"--slot-save-path", s.cache.folder.path}, args...)
	}
	s.process, err = startProcess(found.binary, args, serverEnvironment(os.Environ()), s.log)
	if err != nil {
		sockets.release(socket)
		return nil, newFailure("llama-server could not be started; was it built for this machine?", err)
	}
	s.connect("unix", socket)
	return s, nil
}

// connect says where the server listens.
func (s *server) connect(network, address string) {
	s.transport = &http.Transport{
		DialContext: openai.DialForBodies(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}),
		// A connection that is kept may be closed by the server just when it is used again; a new one takes microseconds.
		DisableKeepAlives:  true,
		DisableCompression: true,
		WriteBufferSize:    16 << 10,
	}
	s.client = &openai.Client{BaseURL: &url.URL{Scheme: "http", Host: "localhost", Path: "/v1"}, Transport: s.transport}
}

// end ends the process, and removes what it leaves.
func (s *server) end(patience time.Duration) {
	s.process.stop(patience)
	sockets.release(s.socket)
}

// modelReplaced reports whether the model's file is not as it was when s began to load it. The file of another name that
// took its place does no harm to a running server, but one that was written into the old one does.
func (s *server) modelReplaced() bool {
	if s.modelPath == "" {
		return false
	}
	now := identify(parts(s.modelPath)...)
	return now != s.model && now.inode == s.model.inode
}
