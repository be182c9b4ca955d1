package bytebot

import (
	"bytes"
	"fmt"
	"image"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/tokens"
)

const (
	// leastAnswer is the room for an answer below which a prompt is made shorter, and leastShare the part of a small context.
	leastAnswer = 1024
	leastShare  = 8
	// turnsLeft is how many messages are left out together, so that the beginning of what is sent stays the same for a while.
	turnsLeft = 8
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

// fewer leaves out what the target cannot take: older images, then older turns. It returns how many images it left out.
func (t *attempt) fewer(s *shape) (out int) {
	c, o := s.c, t.options
	spare := max(len(c.images)-1, 0) // the last one stays
	out = t.outdated(c, o.KeepImages, o.MaxImages)
	if o.MaxRequestBytes > 0 {
		fit := 0
		for size := len(c.body) - c.bytes(len(c.images)); fit < len(c.images); fit++ {
			next := c.images[len(c.images)-1-fit]
			if size += next.part.end - next.part.start; size > o.MaxRequestBytes {
				break
			}
		}
		out = max(out, t.outdated(c, fit/2, max(fit, 1)))
	}
	if !t.x.adapter.config.KeepWindow && (t.to.Limits.Context > 0 || t.squeezed > 0) {
		out = t.fit(s, out)
	}
	out = min(out, spare)
	s.edits = append(s.edits, c.thin(c.eachAlone(), out)...)
	return out
}

// outdated returns how many more images are left out so that most stay, counting those that were left out before.
func (t *attempt) outdated(c *conversation, keep, most int) int {
	return max(outdated(t.x.left+len(c.images), keep, most)-t.x.left, 0)
}

// fit leaves out what does not fit into the target's context, and returns how many images are left out, at least out.
func (t *attempt) fit(s *shape, out int) int {
	c := s.c
	t.prompt = openai.PromptTokens(t.req) - c.tokens(0, len(c.images)) // without images, for now
	largest := 1
	for i := range c.images {
		largest = max(largest, c.tokens(i, i+1))
	}
	room := t.room() - tokensOfText
	if few := min(len(c.images)-out, fewImages) * largest; t.prompt+few > room {
		t.prompt -= s.leaveOut(t.prompt + few - room)
	}
	if fit := max((room-t.prompt)/largest, 1); len(c.images)-out > fit {
		out = max(out, min(t.outdated(c, max(fit/2, 1), fit), len(c.images)-1))
	}
	t.prompt += c.tokens(out, len(c.images))
	return out
}

// bytes returns how many bytes the first images have.
func (c *conversation) bytes(n int) (size int) {
	for _, picture := range c.images[:n] {
		size += picture.part.end - picture.part.start
	}
	return size
}

// tokens returns about how many tokens some of the images have more than the texts in their place.
func (c *conversation) tokens(from, to int) (n int) {
	for _, picture := range c.images[from:to] {
		size, _ := picture.size(c.body)
		n += max(tokens.Image(size.X, size.Y)-tokensOfText, 0)
	}
	return n
}

// leaveOut leaves out turns behind the user's first words, as few as need be for so many tokens, and returns about how many it
// left out. What comes behind them begins with a turn of the model's, and the last one stays.
func (s *shape) leaveOut(excess int) (left int) {
	first := 0
	for first < len(s.c.messages) && s.c.messages[first].role != user {
		first++
	}
	last := len(s.c.messages) - 1
	for last > first && s.c.messages[last].role != assistant {
		last--
	}
	if first >= last {
		return 0
	}
	end := 0
	for unit := turnsLeft; left < excess && end < last; unit += turnsLeft {
		end = min(first+1+unit, last)
		for s.c.messages[end].role != assistant {
			end++
		}
		left = s.c.textTokens(first+1, end)
	}
	s.left = span{first + 1, end}
	s.note(s.c.messages[first], leftOutText)
	return left
}

// textTokens returns about how many tokens the texts and calls of some messages have.
func (c *conversation) textTokens(from, to int) int {
	var counter tokens.Counter
	for _, m := range c.messages[from:to] {
		if c.says(m) {
			counter.JSON(m.content.inside().in(c.body))
		}
		for _, call := range m.calls {
			if !call.arguments.none() {
				counter.JSON(call.arguments.inside().in(c.body))
			}
		}
	}
	return counter.Tokens()
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
