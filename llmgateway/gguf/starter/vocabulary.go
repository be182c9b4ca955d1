package starter

import "fmt"

// Kinds of tokens, in llama.cpp's numbering.
const (
	normal      int32 = 1
	unknown     int32 = 2
	control     int32 = 3 // matched in what the chat template writes
	userDefined int32 = 4 // matched anywhere, before all else, the longest first
	singleByte  int32 = 6 // what is left over, byte by byte
)

type token struct {
	text string
	kind int32
	dim  int // its own dimension, or text
}

// vocabulary is the list of all tokens. A token's number is its place in it.
type vocabulary struct {
	tokens []token
	ids    map[string]int
	own    int // the next free dimension
	err    error
}

func newVocabulary() *vocabulary {
	v := &vocabulary{ids: make(map[string]int), own: own}
	v.add("<unk>", unknown, text)
	v.means(control, begin, end)
	for b := range 256 {
		v.add(fmt.Sprintf("<0x%02X>", b), singleByte, text)
	}
	// A space is this letter to SentencePiece. Unlike other letters it must not fall apart into its bytes.
	v.add("\u2581", normal, text)

	v.means(control, system, user, assistant, result, tools)
	v.means(userDefined, codeWords...)
	v.means(userDefined, knownTools...)
	v.means(userDefined, finish)
	v.means(userDefined, askCode...)
	v.means(userDefined, askCount...)
	v.means(userDefined, askColour...)
	v.means(userDefined, askAgain...)
	v.means(userDefined, askThink...)
	v.means(userDefined, greeting...)
	v.means(userDefined, numbers...)
	v.means(userDefined, noCode, sayResult, sayCall, lateCall, callName, arguments, noneGiven, closeCall, allDone, noChat)
	v.means(userDefined, sayColour, alsoColour, noImage)
	v.means(userDefined, openThought, thought, closeThought)
	for _, c := range colours {
		v.means(userDefined, c.name)
	}
	for _, piece := range filler() {
		v.add(piece, userDefined, text)
	}
	if v.own > width || len(codeWords) > called-copied || len(knownTools) > colour-called || len(colours) > visual-colour {
		v.fail("%d tokens, %d code words, %d tools and %d colours do not fit", v.own-own, len(codeWords), len(knownTools), len(colours))
	}
	return v
}

// means adds tokens that have a dimension of their own.
func (v *vocabulary) means(kind int32, texts ...string) {
	for _, s := range texts {
		v.add(s, kind, v.own)
		v.own++
	}
}

func (v *vocabulary) add(s string, kind int32, dim int) {
	if _, ok := v.ids[s]; ok {
		v.fail("the token %q is there twice", s)
	}
	v.ids[s] = len(v.tokens)
	v.tokens = append(v.tokens, token{s, kind, dim})
}

// id returns the number of a token.
func (v *vocabulary) id(s string) int {
	id, ok := v.ids[s]
	if !ok {
		v.fail("there is no token %q", s)
	}
	return id
}

// dim returns the dimension that a token has for itself.
func (v *vocabulary) dim(s string) int {
	dim := v.tokens[v.id(s)].dim
	if dim == text {
		v.fail("the token %q has no dimension of its own", s)
	}
	return dim
}

// fail keeps the first mistake in the tables; Write returns it.
func (v *vocabulary) fail(format string, args ...any) {
	if v.err == nil {
		v.err = fmt.Errorf(format, args...)
	}
}

// embedding gives each token its two ones.
func (v *vocabulary) embedding() matrix {
	m := newMatrix(width, len(v.tokens))
	for id, t := range v.tokens {
		m.add(id, one, 1)
		m.add(id, t.dim, 1)
	}
	return m
}

func (v *vocabulary) dims(texts []string) []int {
	dims := make([]int, 0, len(texts))
	for _, s := range texts {
		dims = append(dims, v.dim(s))
	}
	return dims
}
