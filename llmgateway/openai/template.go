package openai

import "bytes"

// template is a chunk whose text may be exchanged. Most chunks of a stream differ from the one before in their text only,
// and comparing is much cheaper than scanning.
type template struct {
	before, after []byte // what stands around the text, its quotes included
}

// textNames are the members, with their quotes, that a stream brings piece by piece.
var textNames = [][]byte{[]byte(`"content"`), []byte(`"reasoning_content"`), []byte(`"reasoning"`), []byte(`"arguments"`), []byte(`"text"`)}

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

// matches reports whether data differs from what was learned in the text only. Then it is valid JSON too, and all its
// other members are the same: a text without quotes, and without a backslash before the closing one, ends where it did.
func (t *template) matches(data []byte) bool {
	if len(t.before) == 0 {
		return false
	}
	text, ok := bytes.CutPrefix(data, t.before)
	if !ok {
		return false
	}
	text, ok = bytes.CutSuffix(text, t.after)
	return ok && bytes.IndexByte(text, '"') < 0 && !bytes.HasSuffix(text, []byte(`\`))
}

// stringBehind returns where the first string starts and ends, without its quotes, that stands behind the quoted name
// anywhere in valid JSON, or -1. A name with its quotes cannot stand inside a string.
func stringBehind(data, quotedName []byte) (start, end int) {
	for at := 0; ; {
		i := bytes.Index(data[at:], quotedName)
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
