package caddymodule

import (
	"bytes"
	"regexp"
	"strings"
)

// caddyfileWriter writes the lines of a Caddyfile. The zero value is an empty one.
type caddyfileWriter struct {
	bytes.Buffer

	depth int
}

// line writes words, each of which is one token.
func (w *caddyfileWriter) line(words ...string) {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = caddyfileToken(word)
	}
	w.raw(strings.Join(quoted, " "))
}

// open begins a block.
func (w *caddyfileWriter) open(words ...string) {
	if len(words) == 0 {
		w.raw("{")
	} else {
		w.line(words...)
		w.Truncate(w.Len() - 1)
		w.WriteString(" {\n")
	}
	w.depth++
}

// close ends a block.
func (w *caddyfileWriter) close() {
	w.depth--
	w.raw("}")
}

func (w *caddyfileWriter) blank() { w.WriteByte('\n') }

func (w *caddyfileWriter) comment(text string) { w.raw("# " + text) }

// raw writes lines as they are, indented.
func (w *caddyfileWriter) raw(lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		w.WriteString(strings.Repeat("\t", w.depth) + line + "\n")
	}
}

// caddyfileToken quotes a word if it needs it. No word has a line break or a backquote; settings refuse them.
func caddyfileToken(word string) string {
	if harmlessToken.MatchString(word) {
		return word
	}
	return "`" + word + "`"
}

// harmlessToken matches what means nothing else to a Caddyfile and does not end a word.
var harmlessToken = regexp.MustCompile(`^[A-Za-z0-9{}./:_@+~,=%$-]+$`)
