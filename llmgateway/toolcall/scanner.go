package toolcall

import (
	"slices"
	"strings"
)

// Scanner finds tool calls in a text that comes in pieces. What cannot become a call any more is passed on at once.
//
// What a model thinks between <think> and </think> is not looked into, and neither are code blocks of other languages and code
// within a line of text.
type Scanner struct {
	tools *Tools
	held  string
	// until is what ends the part that is passed on as it is, such as </think>, or empty outside such a part. Code within a line
	// ends with the line, too.
	until string
	// inLine is set if something but white space stands in front of held in its line.
	inLine bool
	// said is set once something but white space and thoughts has been passed on.
	said bool
	// quiet is set right behind a call: white space there is dropped.
	quiet bool
}

// NewScanner returns a Scanner for calls of the tools.
func NewScanner(tools *Tools) *Scanner { return &Scanner{tools: tools} }

// Found is what a Scanner found in a piece of text.
type Found struct {
	// Text is what is no call.
	Text string
	// Calls are those found, as the model wrote them.
	Calls []Call
	// Problems tell of what was meant as a call and cannot be read. It is in Text.
	Problems []Problem
}

// Find finds the calls in a whole text. White space around calls is not text.
func (t *Tools) Find(text string) Found {
	s := NewScanner(t)
	found := s.Write(text)
	rest := s.Close()
	found.Text += rest.Text
	found.Calls = append(found.Calls, rest.Calls...)
	found.Problems = append(found.Problems, rest.Problems...)
	if len(found.Calls) > 0 {
		found.Text = strings.TrimSpace(found.Text)
	}
	return found
}

// longCall is how long a call is that is not looked at again for every piece.
const longCall = 1 << 10

// Write takes the next piece and returns what is certain by now.
func (s *Scanner) Write(piece string) Found {
	long := len(s.held) > longCall
	s.held += piece
	if long && !strings.ContainsAny(piece, "}])>`\n") { // none that a call could end with
		return Found{}
	}
	return s.scan(false)
}

// Close returns the rest, when the text has ended.
func (s *Scanner) Close() Found { return s.scan(true) }

// scan takes from held all that is decided.
func (s *Scanner) scan(final bool) (found Found) {
	for s.held != "" {
		if s.until != "" {
			if !s.pass(&found, final) {
				return found
			}
			continue
		}
		at := s.next()
		s.said = s.said || strings.TrimSpace(s.held[:at]) != ""
		s.say(&found, s.held[:at])
		if s.held = s.held[at:]; s.held == "" {
			break
		}
		m := s.match(final)
		if slices.ContainsFunc(m.calls, func(c Call) bool { return c.Name == "" }) {
			m.problem = unreadable(s.held[:m.size])
		}
		switch {
		case m.wait:
			return found
		case m.size == 0:
			s.said = true
			s.say(&found, s.held[:1])
			s.held = s.held[1:]
			continue
		case m.problem != nil:
			found.Problems = append(found.Problems, *m.problem)
			s.say(&found, s.held[:m.size])
		case len(m.calls) > 0:
			found.Calls = append(found.Calls, m.calls...)
			s.quiet = true
		default:
			s.say(&found, s.held[:m.size])
			s.until = m.until
		}
		s.held = s.held[m.size:]
	}
	return found
}

// pass passes on what belongs to a part that is not looked into. It reports whether that part has ended.
func (s *Scanner) pass(found *Found, final bool) bool {
	at := strings.Index(s.held, s.until)
	if s.until == tick {
		at = strings.IndexAny(s.held, tick+"\n")
	}
	if at >= 0 {
		end := at + len(s.until)
		s.say(found, s.held[:end])
		s.held, s.until = s.held[end:], ""
		return true
	}
	keep := 0
	if !final {
		keep = overlap(s.held, s.until)
	}
	s.say(found, s.held[:len(s.held)-keep])
	s.held = s.held[len(s.held)-keep:]
	return false
}

// overlap returns how many bytes at the end of s may be the beginning of marker.
func overlap(s, marker string) int {
	for n := min(len(s), len(marker)-1); n > 0; n-- {
		if strings.HasSuffix(s, marker[:n]) {
			return n
		}
	}
	return 0
}

// say passes text on.
func (s *Scanner) say(found *Found, text string) {
	if text == "" {
		return
	}
	line := text[strings.LastIndexByte(text, '\n')+1:]
	s.inLine = strings.TrimSpace(line) != "" || s.inLine && len(line) == len(text)
	if s.quiet {
		if text = strings.TrimLeft(text, " \t\r\n"); text == "" {
			return
		}
		s.quiet = false
	}
	found.Text += text
}

// next returns the offset of the next byte in held that a call may begin with.
func (s *Scanner) next() int {
	if at := strings.IndexAny(s.held, "<`[{"); at >= 0 {
		return at
	}
	return len(s.held)
}

// match is what stands at the beginning of a text.
type match struct {
	// size is how long it is, or 0 if it is nothing in particular.
	size int
	// wait is set if that can be told only when there is more text.
	wait    bool
	calls   []Call
	problem *Problem
	until   string
}

// match says what held begins with.
func (s *Scanner) match(final bool) match {
	for _, f := range forms {
		switch {
		case strings.HasPrefix(s.held, f.opener):
			m := f.read(s.tools, s.held, final)
			if m.wait && final {
				m = match{}
			}
			if m.size > 0 || m.wait {
				return m
			}
		case !final && begins(f.opener, s.held):
			return match{wait: true}
		}
	}
	if strings.HasPrefix(s.held, fence) {
		return s.matchFence(final)
	}
	if !final && begins(fence, s.held) {
		return match{wait: true}
	}
	if s.inLine && strings.HasPrefix(s.held, tick) {
		return match{size: len(tick), until: tick}
	}
	if c := s.held[0]; (c == '{' || c == '[') && !s.inLine {
		return s.tools.readBare(s.held, s.said, final)
	}
	return match{}
}

// begins reports whether a marker may begin with s, which is all there is so far.
func begins(marker, s string) bool { return strings.HasPrefix(marker, s) }
