package toolcall

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep values may be nested, so that hostile text cannot exhaust the stack.
const maxDepth = 64

var (
	// errIncomplete means that the text ends before the value does.
	errIncomplete = errors.New("the text ends before the value does")
	errSyntax     = errors.New("not JSON")
)

// parser reads JSON as models write it: also with single quotes, commas before a closing bracket, line breaks inside strings,
// names without quotes, and Python's True, False and None.
type parser struct {
	s string
	i int
	// closed says that s is all there will be: brackets that are missing at its end count as closed.
	closed bool
}

// parse reads the value that s begins with and returns how long it is.
func parse(s string) (v value, n int, err error) {
	p := parser{s: s}
	v, err = p.value(0)
	return v, p.i, err
}

// parseAll reads s as one value with nothing behind it. Missing and surplus brackets at the end are forgiven.
func parseAll(s string) (value, error) {
	p := parser{s: s, closed: true}
	v, err := p.value(0)
	if err == nil && strings.Trim(p.s[p.i:], " \t\r\n]}") != "" {
		err = errSyntax
	}
	return v, err
}

func (p *parser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

// peek returns the next byte behind white space, or 0 at the end.
func (p *parser) peek() byte {
	p.space()
	if p.i == len(p.s) {
		return 0
	}
	return p.s[p.i]
}

func (p *parser) value(depth int) (value, error) {
	switch c := p.peek(); {
	case depth > maxDepth:
		return value{}, errSyntax
	case c == 0:
		return value{}, errIncomplete
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.list(depth)
	case c == '"' || c == '\'':
		s, err := p.str()
		return str(s), err
	case c == '-' || c == '+' || c == '.' || '0' <= c && c <= '9':
		return p.number()
	default:
		return p.literal()
	}
}

func (p *parser) object(depth int) (value, error) {
	v := value{kind: object}
	p.i++
	for {
		switch c := p.peek(); {
		case c == '}':
			p.i++
			return v, nil
		case c == 0 && p.closed && len(v.names) > 0:
			return v, nil
		case c == 0:
			return v, errIncomplete
		}
		name, err := p.name()
		if err != nil {
			return v, err
		}
		if c := p.peek(); c != ':' {
			return v, p.unexpected(c)
		}
		p.i++
		member, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.names, v.elements = append(v.names, name), append(v.elements, member)
		if err := p.comma('}'); err != nil {
			return v, err
		}
	}
}

func (p *parser) list(depth int) (value, error) {
	v := value{kind: list}
	p.i++
	for {
		switch c := p.peek(); {
		case c == ']':
			p.i++
			return v, nil
		case c == 0 && p.closed && len(v.elements) > 0:
			return v, nil
		case c == 0:
			return v, errIncomplete
		}
		element, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.elements = append(v.elements, element)
		if err := p.comma(']'); err != nil {
			return v, err
		}
	}
}

// comma skips the comma between two elements, which may stand before the closing bracket too.
func (p *parser) comma(closing byte) error {
	switch c := p.peek(); {
	case c == ',':
		p.i++
		return nil
	case c == closing, c == 0 && p.closed:
		return nil
	default:
		return p.unexpected(c)
	}
}

func (p *parser) unexpected(c byte) error {
	if c == 0 && p.i == len(p.s) {
		return errIncomplete
	}
	return errSyntax
}

func (p *parser) name() (string, error) {
	if c := p.s[p.i]; c == '"' || c == '\'' {
		return p.str()
	}
	if word := p.word(); word != "" {
		return word, nil
	}
	return "", p.unexpected(p.peek())
}

// word reads an identifier.
func (p *parser) word() string {
	start := p.i
	for p.i < len(p.s) && wordByte(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (p *parser) literal() (value, error) {
	start := p.i
	word := p.word()
	switch word {
	case "true", "True":
		return value{kind: boolean, text: "true"}, nil
	case "false", "False":
		return value{kind: boolean, text: "false"}, nil
	case "null", "None":
		return value{kind: null}, nil
	}
	for _, whole := range []string{"true", "True", "false", "False", "null", "None"} {
		if p.i == len(p.s) && strings.HasPrefix(whole, p.s[start:]) {
			return value{}, errIncomplete
		}
	}
	return value{}, errSyntax
}

// number reads a number and writes it as JSON does: without a plus, and with a digit before the point.
func (p *parser) number() (value, error) {
	start := p.i
	for p.i < len(p.s) && strings.IndexByte("+-.eE0123456789", p.s[p.i]) >= 0 {
		p.i++
	}
	n := strings.TrimPrefix(p.s[start:p.i], "+")
	if rest, ok := strings.CutPrefix(n, "."); ok {
		n = "0." + rest
	}
	if json.Valid([]byte(n)) {
		return value{kind: number, text: n}, nil
	}
	if p.i == len(p.s) {
		return value{}, errIncomplete
	}
	return value{}, errSyntax
}

// str reads a string in either kind of quotes.
func (p *parser) str() (string, error) {
	quoted := p.s[p.i]
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case quoted:
			p.i++
			return strings.ToValidUTF8(b.String(), string(utf8.RuneError)), nil
		case '\\':
			if err := p.escape(&b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
			p.i++
		}
	}
	return "", errIncomplete
}

// escapes are what stands behind a backslash, and what for. Any other byte stands for itself with the backslash, as in
// paths of Windows.
var escapes = map[byte]byte{
	'"': '"', '\'': '\'', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', '\n': '\n',
}

func (p *parser) escape(b *strings.Builder) error {
	if p.i+1 == len(p.s) {
		return errIncomplete
	}
	c := p.s[p.i+1]
	if c == 'u' {
		return p.unicode(b)
	}
	if e, ok := escapes[c]; ok {
		b.WriteByte(e)
	} else {
		b.WriteByte('\\')
		b.WriteByte(c)
	}
	p.i += 2
	return nil
}

// unicode reads an escape of four hexadecimal digits, or two that make one character.
func (p *parser) unicode(b *strings.Builder) error {
	r, ok := p.hex(p.i)
	if !ok {
		if len(p.s)-p.i < 6 {
			return errIncomplete
		}
		b.WriteString(`\u`)
		p.i += 2
		return nil
	}
	p.i += 6
	if utf16.IsSurrogate(r) {
		switch low, ok := p.hex(p.i); {
		case ok && utf16.DecodeRune(r, low) != utf8.RuneError:
			r = utf16.DecodeRune(r, low)
			p.i += 6
		case !ok && len(p.s)-p.i < 6 && begins(`\u`, p.s[p.i:min(p.i+2, len(p.s))]):
			return errIncomplete
		default:
			r = utf8.RuneError
		}
	}
	b.WriteRune(r)
	return nil
}

// hex returns the character of the escape \uXXXX at i.
func (p *parser) hex(i int) (rune, bool) {
	if len(p.s)-i < 6 || p.s[i:i+2] != `\u` {
		return 0, false
	}
	n, err := strconv.ParseUint(p.s[i+2:i+6], 16, 16)
	return rune(n), err == nil
}
