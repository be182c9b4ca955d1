package starter

import (
	"errors"
	"slices"
)

// lower finds out what the second block needs, and what is true of the whole prompt.
func lower(v *vocabulary) (block, error) {
	b := newBlock()

	// Which turn is a token in? The head looks at all ends so far and, thirty-two times as much, at the beginning of the
	// prompt: the beginning's share is 1 in the first turn and falls with every end.
	turns := b.head(0)
	const enough = 40 // any more attention to the rest is below rounding
	turns.score(byKind, v.dim(begin), enough+memory)
	turns.score(byKind, v.dim(end), enough)

	// Are there tools? Is there one that ends the task?
	offers := b.head(1)
	offers.score(byKind, v.dim(tools), enough)
	ends := b.head(2)
	ends.score(byKind, v.dim(finish), enough)

	// How many images have there been? Counted like turns.
	pictures := b.head(3)
	pictures.score(byKind, v.dim(begin), enough+memory)
	pictures.score(byKind, visual, enough)

	return b, errors.Join(
		turns.carry(turn, v.dim(begin)),
		pictures.carry(images, v.dim(begin)),
		offers.carry(offered, v.dim(tools)),
		ends.carry(ending, v.dim(finish)),
	)
}

// upper finds out what the latest turn is about.
func upper(v *vocabulary) (block, error) {
	b := newBlock()
	var errs []error

	// What happened last? A tool's result outranks all, so that a result may contain anything; a question that asks for
	// nothing in particular comes after those that do. A turn without any of them leaves the one before in force.
	event := b.head(0)
	event.only()
	event.latest(turn)
	event.seek(v.dim(result), 0)
	for _, s := range askCount {
		event.seek(v.dim(s), 1)
	}
	for _, s := range append(CodeWords(), askCode...) {
		event.seek(v.dim(s), 2)
	}
	event.seek(visual, 3)
	for _, s := range askColour {
		event.seek(v.dim(s), 3)
	}
	for _, s := range slices.Concat(askAgain, askThink) {
		event.seek(v.dim(s), 3)
	}
	event.seek(v.dim(user), 4)
	// The second call of an answer makes forget that two were asked for.
	event.seek(v.dim(lateCall), -1)
	errs = append(errs,
		event.carry(replied, v.dim(result)),
		event.carry(count, v.dims(askCount)...),
		event.carry(code, v.dims(append(CodeWords(), askCode...))...),
		event.carry(shown, append(v.dims(askColour), visual)...),
		event.carry(wanted, v.dims(askColour)...),
		event.carry(again, v.dims(askAgain)...),
		event.carry(think, v.dims(askThink)...),
	)

	// Which code word was the latest?
	word := b.head(1)
	word.only()
	word.latest(turn)
	for i, s := range codeWords {
		word.seek(v.dim(s), 0)
		errs = append(errs, word.carry(copied+i, v.dim(s)))
	}

	// Which tools were named last? The list of tools names all that are offered, in the first turn; a user who names one
	// later gets that one.
	name := b.head(2)
	name.only()
	name.latest(turn)
	for i, s := range knownTools {
		rank := float32(1)
		if s == favourite {
			rank = 0
		}
		name.seek(v.dim(s), rank)
		errs = append(errs, name.carry(called+i, v.dim(s)))
	}

	// Which colour has the latest image? The projector has left that where the image is; here it gets to the answer.
	look := b.head(3)
	look.only()
	look.latest(images)
	look.seek(visual, 0)
	errs = append(errs, look.carry(sight, visual))
	for i := range colours {
		errs = append(errs, look.carry(colour+i, colour+i))
	}
	return b, errors.Join(errs...)
}
