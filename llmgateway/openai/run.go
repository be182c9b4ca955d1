package openai

// run is a number of chunks, one after the other, that differ in their text only. Their texts are put together before the
// merger takes them apart, so that an answer of a thousand chunks is merged as a few.
type run struct {
	template
	pending []byte // texts of chunks that have not been merged yet
	checked bool   // the template is fit for it
	unfit   bool   // this stream's are not
}

// take keeps the text of a chunk that belongs to the run.
func (r *run) take(chunk []byte) bool {
	if r.unfit {
		return false
	}
	text, ok := r.text(chunk)
	if !ok {
		return false
	}
	if !r.checked {
		if r.unfit = !r.fit(); r.unfit {
			return false
		}
		r.checked = true
	}
	r.pending = append(r.pending, text...)
	return true
}

// begin starts another run with a chunk that has just been merged.
func (r *run) begin(chunk []byte) {
	if !r.unfit {
		r.learn(chunk)
		r.checked = false
	}
}

// end returns a chunk with all texts that are pending, or nil.
func (r *run) end() []byte {
	if len(r.pending) == 0 {
		return nil
	}
	chunk := r.fill(r.pending)
	r.pending = r.pending[:0]
	return chunk
}

// fit reports whether merging a chunk twice adds its text and nothing else.
func (r *run) fit() bool {
	with, err := decode(r.fill([]byte("x")))
	if err != nil {
		return false
	}
	without, err := decode(r.fill(nil))
	return err == nil && countPieces(with) == 1 && countPieces(without) == 0
}

// countPieces counts what merging a chunk once more would add to the answer.
func countPieces(chunk map[string]any) (n int) {
	choices, _ := chunk["choices"].([]any)
	for _, choice := range choices {
		choice, _ := choice.(map[string]any)
		for name := range pieceMembers {
			n += countIn(name, choice[name])
		}
	}
	return n
}

func countIn(name string, value any) (n int) {
	switch value := value.(type) {
	case string:
		// An id or a name that is repeated may begin another tool call.
		if value != "" && name != "role" && name != "type" && name != "format" {
			n++
		}
	case []any:
		for _, element := range value {
			if _, ok := indexOf(element); !ok {
				n++
			}
			n += countIn("", element)
		}
	case map[string]any:
		for member, value := range value {
			n += countIn(member, value)
		}
	}
	return n
}
