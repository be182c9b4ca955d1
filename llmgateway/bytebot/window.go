package bytebot

import (
	"bytes"
	"fmt"
	"image"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

const (
	// leastAnswer is the room for an answer below which a prompt is made shorter, and leastShare the part of a small context.
	leastAnswer = 1024
	leastShare  = 8
	// maxSqueezed bounds how often a request is made shorter that a target says not to fit.
	maxSqueezed = 4
	// tokensOfText is about how many tokens a text in the place of an image has.
	tokensOfText = 20
	// fewImages is how many images stay as long as leaving out turns makes room for them.
	fewImages = 2
)

// leftOutText takes the place of turns.
const leftOutText = "[Some earlier steps are left out here.]"

// room returns how many tokens the prompt may have. With each time that the target said that it does not fit,
// it is less.
func (t *attempt) room() int {
	limit := t.to.Limits.Context
	if limit == 0 {
		limit = openai.PromptTokens(t.req)
	}
	for range t.squeezed {
		limit = limit * 3 / 4
	}
	return max(limit-min(leastAnswer, limit/leastShare), 1)
}

// canSqueeze reports whether a request that does not fit is made shorter once more.
func (t *attempt) canSqueeze() bool { return t.squeezed <= maxSqueezed }

// maxBytes returns how large a request may be, or 0 for no bound.
func (t *attempt) maxBytes() int {
	if most := t.lesson.maxBytes; most > 0 && (t.options.MaxRequestBytes <= 0 || most < t.options.MaxRequestBytes) {
		return most
	}
	return t.options.MaxRequestBytes
}

// fewer leaves out what the target cannot take: older images, then older turns. It returns how many images it left out.
func (t *attempt) fewer(s *shape) (out int) {
	c, o := s.c, t.options
	f := fold{c: c, outdated: func(images int) int {
		return max(outdated(t.x.left+images, o.KeepImages, o.MaxImages)-t.x.left, 0)
	}}
	if most := t.maxBytes(); most > 0 && len(c.body) > most {
		m := measure{room: most, few: 1}
		m.messages, m.images = c.bytes()
		m.rest = len(c.body) - total(m.messages) - total(m.images)
		f.measures = append(f.measures, m)
	}
	windowed := !t.x.adapter.config.KeepWindow && (t.to.Limits.Context > 0 || t.squeezed > 0)
	if windowed {
		m := measure{room: t.room() - tokensOfText, few: fewImages, turns: true}
		m.messages, m.images, m.rest = c.tokens(t.req)
		f.measures = append(f.measures, m)
	}
	left := f.run()
	t.size = len(c.body) - c.saved(left)
	if windowed {
		t.prompt = f.measures[len(f.measures)-1].used
	}
	if left.turns.end > left.turns.start {
		s.left = left.turns
		s.note(c.messages[left.turns.start-1], leftOutText)
	}
	s.edits = append(s.edits, c.thin(c.eachAlone(), left.images)...)
	return left.images
}

// note adds words to the end of a message.
func (s *shape) note(m message, words string) {
	if m.content.none() {
		return
	}
	end := span{m.content.end - 1, m.content.end - 1}
	switch s.c.body[m.content.start] {
	case '"':
		inside := quote("\n\n" + words)
		s.edits.replace(end, inside[1:len(inside)-1])
	case '[':
		s.edits.replace(end, ","+textPart(words))
	}
}

// resize tells a model of another size of the screen, where the system's words tell one.
func (s *shape) resize(from, to image.Point) {
	for _, m := range s.c.messages {
		if m.role != system || !s.c.says(m) {
			continue
		}
		for _, sign := range []string{" x ", "x", " × ", "×"} {
			was, is := fmt.Sprint(from.X, sign, from.Y), fmt.Sprint(to.X, sign, to.Y)
			at := m.content.start
			for {
				i := bytes.Index(s.c.body[at:m.content.end], []byte(was))
				if i < 0 {
					break
				}
				s.edits.replace(span{at + i, at + i + len(was)}, is)
				at += i + len(was)
			}
		}
	}
}
