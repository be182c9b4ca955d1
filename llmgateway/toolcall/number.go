package toolcall

import (
	"math/big"
	"strings"
)

// maxNumber bounds how long a number may be, and its exponent by that, so that comparing it stays cheap.
const maxNumber = 64

// rational returns what a number is worth, or nil if it is none or out of all proportion.
func rational(s string) *big.Rat {
	if len(s) > maxNumber {
		return nil
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(s), "e"); ok && len(strings.TrimLeft(exponent, "+-0")) > 3 {
		return nil
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil
	}
	return r
}

func sameNumber(a, b string) bool {
	x, y := rational(a), rational(b)
	return x != nil && y != nil && x.Cmp(y) == 0
}

// whole returns a number that is an integer without its fraction and exponent, as in 3.0.
func whole(s string) (string, bool) {
	if r := rational(s); r != nil && r.IsInt() {
		if strings.Trim(s, "-0123456789") == "" {
			return s, true
		}
		return r.Num().String(), true
	}
	return "", false
}

// readNumber returns the number that s is, and nothing else but white space, as JSON writes it.
func readNumber(s string) (string, bool) {
	s = strings.TrimSpace(s)
	p := parser{s: s}
	v, err := p.number()
	if err != nil || p.i != len(s) {
		return "", false
	}
	return v.text, true
}
