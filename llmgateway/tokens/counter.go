// Package tokens estimates how many tokens a text or an image is, without any model's tokenizer.
//
// Tokenizers of today's models agree on what is easy to see: a common word is a token, a long or a foreign one a few, digits
// go by threes, signs that follow each other share some. A Counter counts what there is of all these kinds and weighs it; the
// weights were fitted to real tokenizers. docs/decisions has how far it is off.
package tokens

import (
	"unicode"
	"unicode/utf8"
)

// Counter adds up the tokens of texts. The zero value has seen none. It is for one goroutine.
type Counter struct {
	total float64
	seen  counts // of the text that is read now
	// What came right before: the class of the last sign, and what the piece that is being read has.
	last          class
	lastSign      rune
	letters       int
	capitals      int
	digits        int
	lastIsCapital bool
	word          [maxCommon]byte
}

// Tokens returns the estimate for all texts so far.
func (c *Counter) Tokens() int { return int(c.total + 0.5) }

// Text adds a text in UTF-8.
func (c *Counter) Text(s []byte) {
	for i := 0; i < len(s); {
		if b := s[i]; b < utf8.RuneSelf {
			c.add(rune(b), ascii[b])
			i++
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		c.add(r, classOf(r))
		i += size
	}
	c.end()
}

// JSON adds the text that a JSON string stands for. s is what is between its quotes.
func (c *Counter) JSON(s []byte) {
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		switch {
		case r == '\\':
			r, size = unescape(s[i:])
		case r >= utf8.RuneSelf:
			r, size = utf8.DecodeRune(s[i:])
		}
		if r < utf8.RuneSelf {
			c.add(r, ascii[r])
		} else {
			c.add(r, classOf(r))
		}
		i += size
	}
	c.end()
}

// class is a kind of signs.
type class uint8

const (
	nothing class = iota // before the first sign
	blank
	newline
	letter   // of ASCII
	accented // a Latin letter that is none of ASCII
	digit
	sign // of ASCII, such as a bracket
	han
	kana
	hangul
	wide // signs of East Asian texts
	cyrillic
	greek
	semitic // Arabic, Hebrew and the like
	indic
	thai
	other
)

// ascii has the class of each sign of ASCII.
var ascii = func() (table [utf8.RuneSelf]class) {
	for b := range table {
		switch r := rune(b); {
		case r == '\n' || r == '\r':
			table[b] = newline
		case r <= ' ':
			table[b] = blank
		case 'a' <= r|0x20 && r|0x20 <= 'z':
			table[b] = letter
		case '0' <= r && r <= '9':
			table[b] = digit
		default:
			table[b] = sign
		}
	}
	return table
}()

// classOf returns the class of a sign that is none of ASCII.
func classOf(r rune) class {
	switch {
	case r < 0xc0:
		return other
	case r < 0x250, 0x1e00 <= r && r < 0x1f00:
		return accented
	case r < 0x370: // phonetic signs, and accents that are signs of their own
		return accented
	case r < 0x400:
		return greek
	case r < 0x530:
		return cyrillic
	case r < 0x900:
		return semitic
	case r < 0xe00:
		return indic
	case r < 0x1000:
		return thai
	case 0x1100 <= r && r < 0x1200, 0xac00 <= r && r < 0xd7b0:
		return hangul
	case 0x3000 <= r && r < 0x3040, 0xff00 <= r && r < 0xfff0:
		return wide
	case 0x3040 <= r && r < 0x3100:
		return kana
	case 0x3400 <= r && r < 0xa000, 0xf900 <= r && r < 0xfb00, 0x20000 <= r && r < 0x32000:
		return han
	case 0x2010 <= r && r < 0x2040: // dashes and quotation marks
		return sign
	case unicode.IsSpace(r):
		return blank
	default:
		return other
	}
}

// add takes in one sign.
func (c *Counter) add(r rune, is class) {
	switch is {
	case letter, accented:
		capital := is == letter && r < 'a' || is == accented && unicode.IsUpper(r)
		if c.letters > 0 && capital && !c.lastIsCapital { // camelCase
			c.endWord()
		}
		if c.letters == 0 {
			c.seen[words]++
			if c.last == sign {
				c.seen[glued]++
			}
		}
		if c.letters < maxCommon {
			c.word[c.letters] = byte(r&0xff) | 0x20
		}
		c.letters++
		if capital {
			c.capitals++
		}
		if is == accented {
			c.seen[accents]++
			if r >= 0x100 {
				c.seen[accents]++
			}
		}
		c.lastIsCapital = capital
		c.last, c.lastSign = is, r
		return
	case digit:
		if c.digits%3 == 0 {
			c.seen[digits]++
		}
		c.digits++
	case blank:
		if c.last == blank || c.last == newline {
			if c.lastSign != 0 {
				c.seen[indents]++
			}
			r = 0 // the rest of the run is part of it
		}
	case newline:
		if c.last != newline {
			c.seen[newlines]++
		}
	case sign:
		switch {
		case c.last != sign:
			c.seen[signs]++
		case c.lastSign != r:
			c.seen[moreSigns]++
		}
	case han:
		c.seen[hans]++
	case kana:
		c.seen[kanas]++
	case hangul:
		c.seen[hanguls]++
	case wide:
		c.seen[wides]++
	case cyrillic:
		c.seen[cyrillics]++
		if r > 'я' && r != 'ё' || r > 'Ё' && r < 'А' { // not Russian
			c.seen[accents] += 2
		}
		if c.last != cyrillic {
			c.seen[cyrillicWords]++
		}
	case greek:
		c.seen[greeks]++
	case semitic:
		c.seen[semitics]++
		if c.last != semitic {
			c.seen[semiticWords]++
		}
	case indic:
		c.seen[indics]++
		if c.last != indic {
			c.seen[indicWords]++
		}
	case thai:
		c.seen[thais]++
	case nothing, other:
		c.seen[others]++
	}
	if c.letters > 0 {
		c.endWord()
	}
	if is != digit {
		c.digits = 0
	}
	c.last, c.lastSign = is, r
}

// endWord takes in the length of a word.
func (c *Counter) endWord() {
	n := c.letters
	switch {
	case c.capitals > 1:
		c.seen[capitals] += n
	default:
		c.seen[long] += max(0, n-7)
		c.seen[foreign] += max(0, n-3)
		if n <= maxCommon && common(c.word[:n]) {
			c.seen[commons]++
		}
	}
	c.letters, c.capitals, c.lastIsCapital = 0, 0, false
}

// end weighs what a text has.
func (c *Counter) end() {
	if c.letters > 0 {
		c.endWord()
	}
	c.total += c.seen.weigh()
	*c = Counter{total: c.total}
}
