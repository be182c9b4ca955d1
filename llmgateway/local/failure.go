package local

import (
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// Failure is why a server could not be started, or ended.
type Failure struct {
	// Detail says what happened. It holds no paths and no secrets.
	Detail string `json:"detail"`
	// Lines are the last that the server printed. They are for operators: they may hold paths.
	Lines []string `json:"lines,omitempty"`
	// Time is when it happened.
	Time time.Time `json:"time"`
}

// LastFailure returns the last failure, also one that the engine has recovered from. It is nil if there was none.
func (e *Engine) LastFailure() *Failure {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lastFailure == nil {
		return nil
	}
	f := e.lastFailure
	return &Failure{Detail: f.detail, Lines: slices.Clone(f.lines), Time: f.time}
}

// failure is why a server could not be started, or ended.
type failure struct {
	detail string   // for operators and clients: no paths, no secrets
	err    error    // for logs
	lines  []string // the last that the server printed
	files  bool     // something is missing, so that trying again is pointless before it is there
	time   time.Time
	bytes  uint64 // if not 0, it was more than the whole budget
	// crowded is true if there was no memory for another try.
	crowded bool
}

// mended reports whether the reason has gone, so that another try need not be put off.
func (f *failure) mended(b *memory.Budget) bool { return f.bytes > 0 && b.Refuse(f.bytes) == nil }

func newFailure(detail string, err error) *failure {
	if err == nil {
		err = errors.New(detail)
	}
	return &failure{detail: detail, err: err, time: time.Now()}
}

func missing(detail string, err error) *failure {
	f := newFailure(detail, err)
	f.files = true
	return f
}

func tooLarge(err *memory.TooLargeError) *failure {
	f := missing(err.Error(), err)
	f.bytes = err.Bytes
	return f
}

func (f *failure) asError(retryAfter time.Duration) error {
	return &llmgateway.Error{
		Kind: llmgateway.Overloaded, Message: "the local model is not available: " + f.detail, RetryAfter: max(retryAfter, 0), Err: f.err,
	}
}

// failed returns a failure of s with the last lines that it printed.
func (s *server) failed(detail string, err error) *failure {
	f := newFailure(detail, err)
	s.log.flush()
	f.lines = s.log.lines()
	return f
}

// death tells how a server ended that nobody asked to.
func (s *server) death(detail string) *failure {
	f := s.failed(detail, s.process.err)
	reason := "exit status 0"
	if exit, ok := errors.AsType[*exec.ExitError](s.process.err); ok {
		reason = exit.String()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			reason = "killed; is there enough memory?"
		}
	}
	f.detail += " (" + reason + ")"
	if s.modelReplaced() {
		f.detail += "; the model file was written to while it was in use: write a new one beside it and rename it"
	} else if cause := cause(f.lines); cause != "" {
		f.detail += "; " + cause
	}
	return f
}

// causes say in the user's words what a line of llama-server's means.
var causes = []struct {
	line *regexp.Regexp
	text string
}{
	{regexp.MustCompile(`^error: (invalid argument|unknown argument): (--?[\w-]+)$`), "it does not know the flag $2: it is of another version, or args is wrong"},
	{regexp.MustCompile(`unknown model architecture: '([\w.-]+)'`), "it does not know the model's architecture $1; a newer llama-server may"},
	{regexp.MustCompile(`(?i)out of memory|insufficient memory|failed to allocate|unable to allocate|cannot allocate memory|failed to map segment|bad_alloc`), "there was not enough memory"},
	{regexp.MustCompile(`error while loading shared libraries: ([\w.+-]+)`), "the library $1 is missing"},
}

// cause returns what the last lines of a server say about its end, or nothing.
func cause(lines []string) string {
	for _, c := range causes {
		for _, line := range lines {
			if match := c.line.FindStringSubmatchIndex(line); match != nil {
				return string(c.line.ExpandString(nil, c.text, line, match))
			}
		}
	}
	return ""
}
