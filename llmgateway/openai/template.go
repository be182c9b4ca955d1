package openai

import (
	"bytes"
	"slices"
)

// template is a chunk whose text may be exchanged. Most chunks of a stream differ from the one before in their text only,
// and comparing is much cheaper than scanning.
type template struct {
	before, after []byte // what stands around the text, its quotes included
}

// textNames are the members, with their quotes, that a stream brings piece by piece.
var textNames = []string{`"content"`, `"reasoning_content"`, `"reasoning"`, `"arguments"`, `"text"`}

// learn makes a template of data, which is valid JSON, if it has a text.
func (t *template) learn(data []byte) {
	for _, name := range textNames {
		start, end := stringBehind(data, name)
		if start < 0 {
			continue
		}
		t.before = append(t.before[:0], data[:start]...)
		t.after = append(t.after[:0], data[end:]...)
		return
	}
}

// text returns the text of data if nothing else of it differs from what was learned. Then data is valid JSON too, and all
// its other members are the same: a text without quotes, and without a backslash before the closing one, ends where it did.
func (t *template) text(data []byte) (text []byte, ok bool) {
	if len(t.before) == 0 {
		return nil, false
	}
	if text, ok = bytes.CutPrefix(data, t.before); !ok {
		return nil, false
	}
	if text, ok = bytes.CutSuffix(text, t.after); !ok {
		return nil, false
	}
	return text, bytes.IndexByte(text, '"') < 0 && !bytes.HasSuffix(text, []byte(`\`))
}

// fill returns the chunk with another text.
func (t *template) fill(text []byte) []byte {
	return slices.Concat(t.before, text, t.after)
}

// stringBehind returns where the first string starts and ends, without its quotes, that stands behind the quoted name
// anywhere in valid JSON, or -1. A name with its quotes cannot stand inside a string, and as a string value it is not
// followed by a colon.
func stringBehind(data []byte, quotedName string) (start, end int) {
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(quotedName))
		if i < 0 {
			return -1, -1
		}
		at += i + len(quotedName)
		j := skipSpace(data, at)
		if j >= len(data) || data[j] != ':' {
			continue
		}
		if j = skipSpace(data, j+1); j < len(data) && data[j] == '"' {
			if end, err := skipString(data, j); err == nil {
				return j + 1, end - 1
			}
		}
	}
}
