package openai

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// ErrDiverged is the cause of an error that says that a provider did not go on with what the client has got.
var ErrDiverged = errors.New("the answers do not fit together")

func diverged(message string) error {
	return &llmgateway.Error{Kind: llmgateway.Unsupported, Message: message, Err: ErrDiverged}
}

// Rejoin returns what the events of another provider add to what the client has got. The provider was asked the same from
// the start or, if continued, for a [Transcript.Continuation].
//
// From the start, all text that the client has is left out; it must come again byte for byte, in pieces of any size. A
// continuation must not begin like the text that the client has. Otherwise the error is [ErrDiverged], and nothing was
// yielded before it. The chunks that are yielded have the id, model and time of the first provider's, so that clients see
// one stream; a usage has the completion tokens of all.
//
// The caller passes on what is yielded, and lets the Transcript follow.
func (t *Transcript) Rejoin(events iter.Seq2[llmgateway.Event, error], continued bool) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		t.before.add(t.part)
		t.part, t.rejoined = part{}, true
		if continued {
			t.part.prefix = t.chunks
		}
		j := joint{t: t, continued: continued}
		if continued {
			text := string(t.said[0])
			j.tail = text[len(strings.TrimRight(text, whitespace)):]
		}
		for event, err := range events {
			if err == nil {
				t.part.take(event)
			}
			if err == nil && !j.joined {
				err = j.take(event, yield)
			} else if err == nil && !yield(t.dress(event), nil) {
				return
			}
			if errors.Is(err, errLeft) {
				return
			}
			if err != nil {
				yield(llmgateway.Event{}, err)
				return
			}
		}
		if !j.joined && !j.complete() {
			yield(llmgateway.Event{}, diverged("its answer ended before what had been sent already"))
		}
	}
}

// errLeft means that the loop over the events was left.
var errLeft = errors.New("loop left")

// joint is the place where the answers of two providers meet.
type joint struct {
	t         *Transcript
	continued bool
	joined    bool
	seen      [len(saidNames)]int // how much of what was said has come again

	// Of a continuation:
	tail    string           // whitespace at the end of what was said, which may come again
	held    string           // its beginning, as long as it may be a repetition
	carrier llmgateway.Event // the chunk that brought the last of held
}

// take compares an event with what the client has, and yields what is new in it.
func (j *joint) take(event llmgateway.Event, yield func(llmgateway.Event, error) bool) error {
	p := readPiece(event.Data)
	if p.only() >= 0 {
		j.t.part.chunks++
	}
	var fresh said
	var err error
	if j.continued {
		fresh[0], j.joined, err = j.hold(p)
	} else {
		fresh, j.joined, err = j.compare(p)
	}
	if err != nil {
		return err
	}
	if !j.joined {
		if fresh[0] == "" && p.said[0] != "" {
			j.carrier = event
			j.carrier.Data = bytes.Clone(event.Data)
		}
		return nil
	}
	if p.only() >= 0 {
		j.t.part.chunks-- // it is counted when it is passed on
	}
	if fresh[0] != "" && p.said[0] == "" { // what was held goes ahead of a chunk without text
		if !yield(j.t.dress(withText(j.carrier, said{fresh[0]})), nil) {
			return errLeft
		}
		fresh[0] = ""
	}
	if !yield(j.t.dress(withText(event, fresh)), nil) {
		return errLeft
	}
	return nil
}

// compare returns what is new in a piece of an answer from the start.
func (j *joint) compare(p piece) (fresh said, joined bool, err error) {
	joined = p.other || p.finished
	for i, text := range p.said {
		rest := string(j.t.said[i][j.seen[i]:])
		switch {
		case len(text) <= len(rest) && strings.HasPrefix(rest, text):
			j.seen[i] += len(text)
		case len(text) > len(rest) && strings.HasPrefix(text, rest):
			j.seen[i] += len(rest)
			fresh[i], joined = text[len(rest):], true
		default:
			return fresh, false, diverged("its answer is another than what had been sent already")
		}
	}
	if joined && !j.complete() {
		return fresh, false, diverged("its answer is another than what had been sent already")
	}
	return fresh, joined, nil
}

// complete reports whether all that the client has came again.
func (j *joint) complete() bool {
	for i, said := range j.t.said {
		if j.seen[i] < len(said) {
			return false
		}
	}
	return true
}

// sameBeginning is how many bytes a continuation may have in common with the beginning of what was said. A provider that
// begins anew, or repeats what it is to continue, has more.
const sameBeginning = 16

// hold returns the beginning of a continuation once it is certain that it is one.
func (j *joint) hold(p piece) (fresh string, joined bool, err error) {
	if p.said[1] != "" || p.said[2] != "" {
		return "", false, diverged("it thinks anew instead of going on")
	}
	text := p.said[0]
	for text != "" && j.tail != "" {
		if text[0] != j.tail[0] {
			j.tail = ""
			break
		}
		text, j.tail = text[1:], j.tail[1:]
	}
	j.held += text
	before := string(j.t.said[0])
	same := 0
	for same < min(len(j.held), len(before)) && j.held[same] == before[same] {
		same++
	}
	switch {
	case same >= min(len(before), sameBeginning):
		return "", false, diverged("it repeats what had been sent already")
	case same < len(j.held) || p.other || p.finished:
		return j.held, true, nil
	}
	return "", false, nil
}

// dress returns the event as one of the first provider's.
func (t *Transcript) dress(event llmgateway.Event) llmgateway.Event {
	members, err := scanObject(event.Data, nil, nil)
	if err != nil {
		return event // the inspector has checked it
	}
	s := splicer{body: event.Data}
	for _, m := range members {
		for _, first := range t.same {
			if first.name == m.Name {
				s.replace(m.Value, m.End, first.raw)
			}
		}
		if m.Name == "usage" && event.Usage != nil {
			event.Usage = t.before.with(t.part, *event.Usage)
			s.members(m.Value, usageMembers(event.Usage))
		}
	}
	event.Data = s.join()
	return event
}

// withText returns a chunk with other texts in place of its own.
func withText(event llmgateway.Event, texts said) llmgateway.Event {
	s := splicer{body: event.Data}
	eachMember(event.Data, skipSpace(event.Data, 0), func(name []byte, value int) int {
		if string(name) != "choices" {
			return skip(event.Data, value)
		}
		return eachElement(event.Data, value, func(choice int) int {
			return s.texts(choice, texts)
		})
	})
	event.Data, event.Carries = s.join(), true
	return event
}

// texts replaces those in an object, and in its delta.
func (s *splicer) texts(object int, texts said) (end int) {
	return eachMember(s.body, object, func(name []byte, value int) int {
		if string(name) == "delta" {
			return s.texts(value, texts)
		}
		end := skip(s.body, value)
		if i := slices.Index(saidNames[:], string(name)); i >= 0 && s.body[value] == '"' {
			s.replace(value, end, quote(texts[i]))
		}
		return end
	})
}

// members replaces the values of those of the given names in an object.
func (s *splicer) members(object int, values map[string]string) {
	eachMember(s.body, object, func(name []byte, value int) int {
		end := skip(s.body, value)
		if text, ok := values[string(name)]; ok {
			s.replace(value, end, []byte(text))
		}
		return end
	})
}

func (s *splicer) join() []byte {
	segments, _ := s.finish()
	return bytes.Join(segments, nil)
}
