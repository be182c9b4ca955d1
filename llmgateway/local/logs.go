package local

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// serverLog takes what a server prints, line by line, to the log, and keeps the last lines for the report of a crash.
//
// Once a server has requests, some of its messages quote them: a body that is no JSON, an answer that cannot be parsed.
// So from then on only lines whose shape is known pass, and those only up to the first quotation.
type serverLog struct {
	logger  *slog.Logger
	serving atomic.Bool

	mu      sync.Mutex // guards what follows
	partial []byte
	last    []string
	printed int // lines, also those that were not kept
}

const (
	keptLines = 20
	maxLine   = 1000
)

// Write takes a piece of output. It never fails.
func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		// The end of an overlong line is not worth a warning.
		if room := maxLine - len(l.partial); room > 0 {
			l.partial = append(l.partial, line[:min(room, len(line))]...)
		}
		if !ended {
			return n, nil
		}
		l.line(string(l.partial))
		l.partial = l.partial[:0]
		b = rest
	}
}

// flush logs a last line that was not ended.
func (l *serverLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.line(string(l.partial))
		l.partial = nil
	}
}

// line logs one line. mu is held.
func (l *serverLog) line(text string) {
	l.printed++
	text = strings.TrimRight(strings.ToValidUTF8(text, "?"), " \r\t")
	stamp := stamped.FindStringSubmatch(text)
	if stamp != nil {
		text = text[len(stamp[0]):]
	}
	if l.serving.Load() {
		if !harmless(stamp != nil, text) {
			return
		}
		text = unquoted(text)
	}
	if text == "" {
		return
	}
	if len(l.last) == keptLines {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, text)
	l.logger.Log(context.Background(), l.level(stamp, text), "llama-server", "line", text)
}

// level returns Info for what an operator may have to know, and Debug for the rest. A warning after loading is about
// one request.
func (l *serverLog) level(stamp []string, text string) slog.Level {
	switch {
	case stamp == nil && crash.MatchString(text),
		stamp != nil && stamp[1] == "E",
		stamp != nil && stamp[1] == "W" && !l.serving.Load() && !expected.MatchString(text):
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

// lines returns the last lines.
func (l *serverLog) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.last)
}

// count returns how many lines were printed.
func (l *serverLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.printed
}

var (
	// stamped matches what --log-timestamps and --log-prefix put before a message: "0.00.123.456 I ".
	stamped = regexp.MustCompile(`^\d+\.\d\d\.\d{3}\.\d{3} ([IWED]) `)
	// scoped matches llama-server's own messages, such as "slot print_timing: id  0 | task 1 | ...".
	scoped = regexp.MustCompile(`^(slot|srv|que|res) +\S+: `)
	// expected matches warnings about what is meant to be so: the socket is nobody else's, and cache_ram is 0.
	expected = regexp.MustCompile(`no API key is set|--cache-idle-slots requires --cache-ram`)
	// crash matches the last words of ggml and of the C++ runtime, which have no stamp.
	crash = regexp.MustCompile(`^(\S+\.(c|cc|cpp|h|hpp|m|cu|cuh):\d+: |CUDA error|ggml_\w+: |terminate called|\S+: error while loading shared libraries|error: )`)
)

// harmless reports whether a line may be logged while there are requests, as far as it quotes nothing.
func harmless(hasStamp bool, text string) bool {
	if hasStamp {
		return scoped.MatchString(text)
	}
	return crash.MatchString(text)
}

// unquoted cuts a text before anything that it quotes.
func unquoted(text string) string {
	if i := strings.IndexAny(text, "'\"{`"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	return text
}
