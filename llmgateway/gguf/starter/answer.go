package starter

import "slices"

// The output matrix turns what is known at a token into points for each token that may follow it. The most points win.
// Sampling makes a difference of ten a certainty at any usual temperature; most differences here are far larger.
const (
	follows = 200    // from a phrase to the next one
	stops   = 100    // for the end, where no phrase leads on
	barred  = -16000 // for tokens that may stand in few places; nothing outweighs it
)

type answers struct {
	vocabulary *vocabulary
	points     matrix
}

func output(v *vocabulary) matrix {
	a := answers{v, newMatrix(width, len(v.tokens))}
	a.openings()
	a.phrases()
	a.copies()
	a.closings()
	return a.points
}

// openings decides how an answer begins. Points after <|assistant|>, and after thinking, which comes first if it was
// asked for:
//
//	                       anything   code, count   image     result    result, and a tool ends the task
//	greeting               360        360           360       -180      -180
//	code word              0          1000          0         0         0
//	no code word           0          1080          0         0         0       if none was given
//	numbers                0          1080          0         0         0
//	colour                 0          0             540       0         0
//	no image               0          0             1000      0         0       if there is none
//	result                 0          0             0         1080      90
//	call, if offered       720        -2280         720       180       180
//	call                   0          -3000         0         -540      -540
//
// Who asks for the colour by name gets it even where tools are offered; in a turn with that word and some images, wanted
// is a fraction.
func (a answers) openings() {
	for _, s := range []string{greeting[0], sayCode, noCode, sayColour, noImage, sayResult, sayCall} {
		a.onlyAfter(s, assistant, closeThought)
	}
	a.onlyAfter(numbers[0], assistant, closeThought, numbers[len(numbers)-1])
	a.onlyAfter(openThought, assistant)
	a.when(think, openThought, 2000)

	a.after(assistant, greeting[0], 360)
	a.after(closeThought, greeting[0], 360)
	a.when(replied, greeting[0], -540)
	a.when(code, sayCode, 1000)
	a.when(code, noCode, 1080)
	for i := range codeWords {
		a.when(copied+i, noCode, -1080)
	}
	a.when(count, numbers[0], 1080)
	a.when(shown, sayColour, 540)
	a.when(shown, noImage, 1000)
	a.when(sight, noImage, -2000)
	a.when(wanted, sayCall, -8000)
	a.when(replied, sayResult, 1080)
	a.when(ending, sayResult, -990)
	a.when(offered, sayCall, 720)
	a.when(replied, sayCall, -540)
	a.when(code, sayCall, -3000)
	a.when(count, sayCall, -3000)
}

// phrases says how an answer goes on once it has begun.
func (a answers) phrases() {
	a.chain(greeting...)
	a.chain(greeting[len(greeting)-1], end)

	a.chain(numbers...)
	a.chain(numbers[len(numbers)-1], numbers[0])

	for _, w := range codeWords {
		a.chain(w, end)
	}

	// A tool may bring a code word: repeating it shows that the result was read.
	a.onlyAfter(alsoCode, sayResult)
	for i := range codeWords {
		a.when(copied+i, alsoCode, follows)
	}

	a.chain(noCode, end)

	// Or an image.
	a.onlyAfter(alsoColour, sayResult)
	a.when(sight, alsoColour, (follows+stops)/2)
	for _, c := range colours {
		a.chain(c.name, end)
	}
	a.chain(noImage, end)
	a.chain(openThought, thought, closeThought)

	a.chain(sayCall, callName)
	a.chain(lateCall, callName)
	for _, name := range knownTools {
		a.chain(name, arguments)
	}
	a.chain(arguments, noneGiven, closeCall, end)
	// Together with what closings gives to another call, and no sooner, this outweighs the end.
	a.after(closeCall, lateCall, 90)
	a.when(again, lateCall, 80)
	a.chain(finish, allDone, closeCall)
}

// copies lets decide what attention found, in the two places where no phrase leads on.
func (a answers) copies() {
	for i, w := range codeWords {
		a.onlyAfter(w, sayCode, alsoCode)
		a.when(copied+i, w, 1000)
	}
	for i, c := range colours {
		a.onlyAfter(c.name, sayColour, alsoColour)
		a.when(colour+i, c.name, 1000)
	}
	for i, name := range knownTools {
		a.onlyAfter(name, callName)
		a.when(called+i, name, 4000) // even a twentieth of the attention is a clear lead
		a.after(callName, name, float32(-16*i))
	}
	// The tool that ends the task is called if it exists and another has answered; then it outweighs all names.
	a.onlyAfter(finish, callName)
	a.after(callName, finish, -6000)
	a.when(replied, finish, 5600)
	a.when(ending, finish, 5600)
}

// closings says what comes after anything else.
func (a answers) closings() {
	// A prompt that is no chat ends in ordinary text.
	a.when(text, noChat, follows)
	a.chain(noChat, end)

	a.when(text, end, stops)
	for _, s := range []string{begin, end, system, user, result, tools, sayCode, alsoCode, sayColour, alsoColour, sayResult} {
		a.after(s, end, stops)
	}
	for _, s := range slices.Concat([]string{"code word", "Code word"}, askCount, askColour) {
		a.after(s, end, stops)
	}

	// llama-server forbids tokens that would make a tool's arguments, or an answer in JSON, invalid, and the end where a
	// call is required. Where it forbids all of the above, these lead to the shortest text that it allows: strings are
	// empty, numbers zero, and most of what is optional is left out.
	const quote, zero = "<0x22>", "<0x30>"
	const endObject, endArray, colon, comma, object, array = "<0x7D>", "<0x5D>", "<0x3A>", "<0x2C>", "<0x7B>", "<0x5B>"
	for i, s := range []string{
		lateCall, closeCall, arguments, quote, noneGiven, endObject, endArray, colon, comma, zero, object, array,
	} {
		a.when(one, s, float32(80-6*i))
	}
}

// when gives points to token s as far as dimension dim is set.
func (a answers) when(dim int, s string, points float32) {
	a.points.add(a.vocabulary.id(s), dim, points)
}

// after gives points to token s if it follows token before.
func (a answers) after(before, s string, points float32) {
	a.when(a.vocabulary.dim(before), s, points)
}

// chain makes the tokens follow each other.
func (a answers) chain(texts ...string) {
	for i := 1; i < len(texts); i++ {
		a.after(texts[i-1], texts[i], follows)
	}
}

// onlyAfter bars token s everywhere but after the given tokens.
func (a answers) onlyAfter(s string, places ...string) {
	a.when(one, s, barred)
	for _, p := range places {
		a.after(p, s, -barred)
	}
}
