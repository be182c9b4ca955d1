package tokens

// counts is how often there is what makes tokens.
type counts [kinds]int

// The kinds of what is counted.
const (
	words     = iota // runs of Latin letters; another begins at a capital behind a small letter
	long             // letters of words beyond the seventh
	foreign          // letters of words beyond the third, as far as the text is in no language with many tokens of its own
	accents          // letters that are none of ASCII, those twice that few languages have
	capitals         // letters of words in capitals
	glued            // words right behind a sign, which may share its token
	digits           // groups of three
	signs            // runs of signs
	moreSigns        // signs in them that follow another one
	newlines         // runs of line ends
	indents          // runs of white space
	hans
	kanas
	hanguls
	wides
	cyrillics
	cyrillicWords
	greeks
	semitics
	semiticWords
	indics
	indicWords
	thais
	others
	commons // words that tell English and code from other languages; they weigh nothing themselves
	kinds
)

// weights is how many tokens each of a kind is.
var weights = [kinds]float64{
	words:         1.01,
	long:          0.27,
	foreign:       0.165,
	accents:       0.4,
	capitals:      0.14,
	glued:         -0.2,
	digits:        1.8,
	signs:         0.77,
	moreSigns:     0.16,
	newlines:      0.95,
	indents:       0.68,
	hans:          0.71,
	kanas:         0.66,
	hanguls:       0.775,
	wides:         0.8,
	cyrillics:     0.14,
	cyrillicWords: 1.15,
	greeks:        0.45,
	semitics:      0.39,
	semiticWords:  0.23,
	indics:        0.5,
	indicWords:    0.3,
	thais:         0.6,
	others:        2.2,
}

// weigh returns the tokens of one text.
func (n *counts) weigh() float64 {
	total := 0.0
	for kind, count := range n {
		weight := weights[kind]
		if kind == foreign {
			weight *= n.foreignness()
		}
		total += weight * float64(count)
	}
	return total
}

// foreignness is 0 for English and for code, and 1 for a language without any of their common words.
func (n *counts) foreignness() float64 {
	if n[words] == 0 {
		return 0
	}
	// Two words more than there are, so that a few words are not taken for a language.
	share := float64(n[commons]+1) / (float64(n[words]) + 2)
	return max(0, 1-share/fullShare)
}

// fullShare is the share of common words from which on a text counts as English or code.
const fullShare = 0.16

// maxCommon is the length of the longest common word.
const maxCommon = 8

// common reports whether a word in small letters is one of those that are frequent in English or in programs and hardly
// occur in other languages.
func common(word []byte) bool {
	switch string(word) {
	case "the", "and", "of", "to", "in", "is", "that", "it", "for", "with", "as", "was", "are", "be", "this", "have", "has",
		"from", "or", "by", "not", "but", "at", "you", "your", "they", "their", "which", "will", "can", "if", "we", "my", "an", "she",
		"his", "her", "when", "what", "there", "would", "each", "only", "than", "then", "them", "who", "how", "these", "should",
		"func", "return", "string", "const", "int", "err", "nil", "null", "true", "false", "type", "name", "var", "let", "self",
		"def", "import", "class", "void", "new", "else", "while", "struct", "static", "public", "private", "function", "value",
		"key", "id", "list", "size", "data", "file", "path", "get", "set", "add", "len", "error", "object", "integer", "number",
		"bool", "float", "array", "index", "count", "user", "time", "test", "request", "http", "https", "json", "code", "args", "print",
		"use", "all", "one", "any", "no", "do", "does":
		return true
	}
	return false
}
