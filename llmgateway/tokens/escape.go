package tokens

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unescape returns the sign that an escape at the beginning of s stands for, and how long the escape is.
func unescape(s []byte) (r rune, size int) {
	if len(s) < 2 {
		return '\\', 1
	}
	switch s[1] {
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't', 'b', 'f':
		return '\t', 2
	case 'u':
	default:
		return rune(s[1]), 2
	}
	r = hex(s[2:])
	if utf16.IsSurrogate(r) && len(s) >= 8 && s[6] == '\\' && s[7] == 'u' {
		if both := utf16.DecodeRune(r, hex(s[8:])); both != utf8.RuneError {
			return both, 12
		}
	}
	return r, min(6, len(s))
}

// hex reads four digits.
func hex(s []byte) (r rune) {
	if len(s) < 4 {
		return utf8.RuneError
	}
	for _, d := range s[:4] {
		switch {
		case '0' <= d && d <= '9':
			d -= '0'
		default:
			d = d | 0x20 - 'a' + 10
		}
		r = r<<4 | rune(d&15)
	}
	return r
}
