package bytebot

import (
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/tokens"
)

// measure is what a request has too much of: tokens, or bytes.
type measure struct {
	// room is how much there may be.
	room int
	// rest is what is there beside messages and images.
	rest int
	// messages and images are how much each has; what a message has is without its images, and what an image has is more than the
	// text in its place.
	messages, images []int
	// few is how many images stay as long as something else can be left out, at least 1.
	few int
	// turns is true if turns may be left out, too.
	turns bool

	// What follows is of what is there, while it grows: how much is used, how much of it is in messages that are never left out, and
	// what the largest image has.
	used, lasting, largest int
}

// omission is what is left out of a conversation.
type omission struct {
	images int  // the first ones
	turns  span // messages
}

// fold goes through a conversation as it grew, request by request, and leaves out what a measure has no room for: older images, then
// older turns behind the user's first words. What was left out stays left out, and once there is no room, half of it is made free. So
// what is sent begins in the same way for as long as can be, and the same conversation gives the same request in every process.
type fold struct {
	c        *conversation
	measures []measure
	outdated func(images int) int // how many of the first so many images are left out in any case

	at   int // messages that are there
	seen int // images in them
	out  omission
}

// run returns what is left out of the whole conversation.
func (f *fold) run() omission {
	f.out.turns.start = min(f.c.firstWords()+1, len(f.c.messages))
	f.out.turns.end = f.out.turns.start
	for i := range f.measures {
		f.measures[i].used = f.measures[i].rest
	}
	for i, m := range f.c.messages {
		if m.role == assistant && i > 0 && f.c.messages[i-1].role != assistant {
			f.upTo(i)
		}
	}
	f.upTo(len(f.c.messages))
	return f.out
}

// upTo takes in the messages up to one, with which there was a request, and makes room for them.
func (f *fold) upTo(end int) {
	for i := range f.measures {
		m := &f.measures[i]
		m.used += total(m.messages[f.at:end])
		if first := min(f.out.turns.start, end); first > f.at {
			m.lasting += total(m.messages[f.at:first])
		}
	}
	f.at = end
	for f.seen < len(f.c.images) && f.c.images[f.seen].message < end {
		f.count(+1, f.seen)
		for i := range f.measures {
			f.measures[i].largest = max(f.measures[i].largest, f.measures[i].images[f.seen])
		}
		f.seen++
	}
	for f.out.images < f.outdated(f.seen) && f.kept() > 1 {
		f.dropImage()
	}
	for i := range f.measures {
		if f.measures[i].used > f.measures[i].room {
			f.makeRoom(i)
		}
	}
}

// makeRoom leaves out what a measure has too much of, until half of what is not fixed is free.
func (f *fold) makeRoom(i int) {
	m := &f.measures[i]
	fixed := m.rest + m.lasting + min(m.few, f.seen)*m.largest
	free := max(m.room-fixed, 0)
	half, most := m.room-free/2, m.room-free/4
	for m.used > half && f.kept() > m.few {
		f.dropImage()
	}
	if m.turns && m.used > most {
		for m.used > half && f.dropTurn() {
			continue
		}
	}
	for m.used > m.room && f.kept() > 1 {
		f.dropImage()
	}
}

// kept returns how many images are not left out.
func (f *fold) kept() int { return f.seen - f.out.images }

func (f *fold) dropImage() {
	f.count(-1, f.out.images)
	f.out.images++
}

// count adds an image to what is used, or takes it away.
func (f *fold) count(sign, n int) {
	for i := range f.measures {
		f.measures[i].used += sign * f.measures[i].images[n]
	}
}

// dropTurn leaves out the oldest turn of the model and what came behind it, unless it is the last one.
func (f *fold) dropTurn() bool {
	next := f.out.turns.end + 1
	for next < f.at && (f.c.messages[next].role != assistant || f.c.messages[next-1].role == assistant) {
		next++
	}
	if next >= f.at {
		return false
	}
	for i := range f.measures {
		f.measures[i].used -= total(f.measures[i].messages[f.out.turns.end:next])
	}
	f.out.turns.end = next
	within := f.out.images // up to the last image of what is left out; before it there may be some that the first words show
	for i := within; i < f.seen && f.c.images[i].message < next; i++ {
		if f.c.images[i].message >= f.out.turns.start {
			within = i + 1
		}
	}
	for f.out.images < within {
		f.dropImage()
	}
	return true
}

func total(numbers []int) (n int) {
	for _, more := range numbers {
		n += more
	}
	return n
}

// firstWords returns the index of the user's first message, or that behind the last message.
func (c *conversation) firstWords() int {
	for i, m := range c.messages {
		if m.role == user {
			return i
		}
	}
	return len(c.messages)
}

// tokens returns about how many tokens a request has whose conversation it is.
func (c *conversation) tokens(req *llmgateway.Request) (messages, images []int, rest int) {
	messages, rest = openai.MessageTokens(req)
	for _, picture := range c.images {
		more := tokens.LowDetail
		if size, _ := picture.size(c.body); !picture.low {
			more = tokens.Image(size.X, size.Y)
		}
		more -= tokensOfText
		images = append(images, more)
		messages[picture.message] -= more
	}
	return messages, images, rest
}

// saved returns about how many bytes are left out.
func (c *conversation) saved(out omission) (n int) {
	for _, m := range c.messages[out.turns.start:out.turns.end] {
		n += m.end - m.start
	}
	for _, picture := range c.images[:out.images] {
		if picture.message < out.turns.start || picture.message >= out.turns.end {
			n += picture.part.end - picture.part.start
		}
	}
	return n
}

// bytes returns how many bytes the conversation has.
func (c *conversation) bytes() (messages, images []int) {
	for _, m := range c.messages {
		messages = append(messages, m.end-m.start)
	}
	for _, picture := range c.images {
		more := picture.part.end - picture.part.start - len(textPart(oldImageText))
		images = append(images, more)
		messages[picture.message] -= more
	}
	return messages, images
}
