package local

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Command is a program other than llama-server that speaks OpenAI's API and is run in the same way. Its zero value is none.
type Command struct {
	// Program is its path, or its name on PATH.
	Program string
	// Args are its arguments, made with [JoinArgs]. Placeholders stand for where it shall listen: {socket}, a unix socket,
	// or {port}, a free TCP port of the loopback address; and {model} for Model. Other users of the machine can reach a
	// port.
	Args string
	// Env holds variables as NAME=value, made with [JoinArgs]. Of the gateway's own environment the program gets only what
	// finds libraries and devices.
	Env string
	// Model is what the program calls its model, or empty for what a request says.
	Model string
	// HealthPath is the page that answers 200 once the model is loaded. Empty means /health, or /v1/models if there is none.
	HealthPath string
	// MemoryBytes is what the program takes at most, for the budget.
	MemoryBytes uint64
}

const (
	socketPlace = "{socket}"
	portPlace   = "{port}"
	modelPlace  = "{model}"
)

func (c Command) validate() error {
	switch {
	case strings.Contains(c.Args, socketPlace) && strings.Contains(c.Args, portPlace):
		return errors.New("command: {socket} and {port} exclude each other")
	case !strings.Contains(c.Args, socketPlace) && !strings.Contains(c.Args, portPlace):
		return errors.New("command: an argument must say where to listen: {socket} for a unix socket, or {port} for a TCP port of 127.0.0.1")
	case strings.Contains(c.Args, modelPlace) && c.Model == "":
		return errors.New("command: there is no model for {model}")
	case c.HealthPath != "" && !strings.HasPrefix(c.HealthPath, "/"):
		return fmt.Errorf("command: the health path %q does not begin with a slash", c.HealthPath)
	}
	if c.Env == "" {
		return nil
	}
	for entry := range strings.SplitSeq(c.Env, argSep) {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" {
			return errors.New("command: a variable of the environment has no name")
		}
	}
	return nil
}

// path returns where the program is.
func (c Command) path() (string, error) {
	found, err := exec.LookPath(c.Program)
	if err != nil {
		return "", fmt.Errorf("command: %w", err)
	}
	return filepath.Abs(found)
}

// name returns what the engine is called.
func (c Command) name() string { return cmp.Or(c.Model, filepath.Base(c.Program)) }

// look returns what is there.
func (c Command) look() (found, *failure) {
	path, err := c.path()
	if err != nil {
		what := " was not found"
		if errors.Is(err, os.ErrPermission) {
			what = " is no program that may be run"
		}
		return found{}, missing("the program "+filepath.Base(c.Program)+what, err)
	}
	return found{binary: path, bytes: c.MemoryBytes}, nil
}

// start starts the program.
func (c Command) start(path string, log *serverLog) (*server, *failure) {
	s := &server{log: log, health: c.HealthPath}
	if s.health == "" {
		s.health, s.healthElse = "/health", "/v1/models"
	}
	values := []string{modelPlace, c.Model}
	if strings.Contains(c.Args, socketPlace) {
		socket, err := sockets.reserve()
		if err != nil {
			return nil, newFailure("there is no place for a socket", err)
		}
		s.socket = socket
		s.connect("unix", socket)
		values = append(values, socketPlace, socket)
	} else {
		port, err := freePort()
		if err != nil {
			return nil, newFailure("there is no free port", err)
		}
		s.connect("tcp", net.JoinHostPort("127.0.0.1", port))
		values = append(values, portPlace, port)
	}
	var args []string
	if c.Args != "" {
		// The separator is in no value.
		args = strings.Split(strings.NewReplacer(values...).Replace(c.Args), argSep)
	}
	env := environment(os.Environ())
	if c.Env != "" {
		env = append(env, strings.Split(c.Env, argSep)...)
	}
	var err error
	if s.process, err = startProcess(path, args, env, s.log); err != nil {
		sockets.release(s.socket)
		return nil, newFailure("the program could not be started", err)
	}
	return s, nil
}

// freePort returns a TCP port of the loopback address that nobody has now. Somebody may take it before the program does;
// then the program ends, and the next one gets another.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}

// settleHealth chooses the page to look at from now on, if a server does not know the first.
func (s *server) settleHealth(status int) {
	if status == http.StatusNotFound && s.healthElse != "" {
		s.health, s.healthElse = s.healthElse, ""
	}
}
