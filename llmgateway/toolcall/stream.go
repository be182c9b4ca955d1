package toolcall

import (
	"bytes"
	"iter"
	"maps"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Stream mends the calls in a stream's chunks. Text that cannot be a call is passed on at once, in the chunks it came in; calls
// are held back until they are whole. told, which may be nil, is told of each call that cannot be mended.
func (r *Repairer) Stream(chunks iter.Seq2[llmgateway.Event, error], told func(Problem)) iter.Seq2[llmgateway.Event, error] {
	if r.Tools.Empty() {
		return chunks
	}
	return func(yield func(llmgateway.Event, error) bool) {
		s := &stream{repairer: r, told: told, yield: yield, choices: make(map[int64]*streamed)}
		for chunk, err := range chunks {
			if err != nil {
				if s.release() {
					yield(llmgateway.Event{}, err)
				}
				return
			}
			if !s.take(chunk) {
				return
			}
		}
		s.end()
	}
}

// stream is what is known of a stream so far.
type stream struct {
	repairer *Repairer
	told     func(Problem)
	yield    func(llmgateway.Event, error) bool
	choices  map[int64]*streamed
	// held are chunks with calls that are not whole yet, and all that came behind them.
	held []llmgateway.Event
	last []byte
}

// streamed is one choice of a stream.
type streamed struct {
	scanner  *Scanner
	found    []Call
	calls    []*partialCall
	finished bool
	reason   string
}

// partialCall is a call that comes in pieces.
type partialCall struct {
	index     int64
	call      Call
	arguments bytes.Buffer
	right     bool // it came in OpenAI's shape
}

func (s *stream) choice(index int64) *streamed {
	c := s.choices[index]
	if c == nil {
		c = &streamed{scanner: NewScanner(s.repairer.Tools)}
		s.choices[index] = c
	}
	return c
}

// withDeltas returns a chunk in which a choice that ends has a delta, which servers may leave out.
func withDeltas(chunk []byte) []byte {
	e := editor{data: chunk}
	for _, choice := range gjson.GetBytes(chunk, "choices").Array() {
		if delta := choice.Get("delta"); choice.Get("finish_reason").Type == gjson.String && (!delta.Exists() || delta.Type == gjson.Null) {
			e.set(choice, "delta", "{}")
		}
	}
	return e.finish()
}

// take takes in a chunk and passes on what can be.
func (s *stream) take(chunk llmgateway.Event) bool {
	chunk.Data = withDeltas(chunk.Data)
	root := gjson.ParseBytes(chunk.Data)
	e := editor{data: chunk.Data}
	called, finished, empty := len(s.held) > 0, false, true
	choices := root.Get("choices").Array()
	for _, choice := range choices {
		c := s.choice(choice.Get("index").Int())
		delta := choice.Get("delta")
		if !delta.IsObject() {
			empty = false
			continue
		}
		if list := delta.Get("tool_calls").Array(); len(list) > 0 {
			called = true
			c.add(list)
		}
		reason := choice.Get("finish_reason")
		ends := reason.Type == gjson.String && !c.finished
		if ends {
			c.finished, c.reason, finished = true, reason.Str, true
		}
		if !s.text(&e, c, choice, ends) {
			empty = false
		}
		if ends && len(c.calls) == 0 && len(c.found) > 0 {
			all := s.repair(c.found)
			e.set(delta, "tool_calls", writeToolCalls(all.calls, true))
			if reason.Str == "stop" {
				e.set(choice, "finish_reason", `"tool_calls"`)
				chunk.FinishReason = "tool_calls"
			}
		}
	}
	if len(choices) > 0 && len(e.edits) > 0 && empty && chunk.Usage == nil {
		s.last = append(s.last[:0], chunk.Data...)
		return true // all of it is held back
	}
	chunk.Data = e.finish()
	if called {
		chunk.Data, chunk.More = slices.Clone(chunk.Data), true
		s.held = append(s.held, chunk)
		if !finished || s.pending() {
			return true
		}
		return s.release()
	}
	s.last = append(s.last[:0], chunk.Data...)
	return s.yield(chunk, nil)
}

// text takes in the text of a choice. It reports whether the choice's part of the chunk has nothing left in it.
func (s *stream) text(e *editor, c *streamed, choice gjson.Result, ends bool) (empty bool) {
	delta := choice.Get("delta")
	content := delta.Get("content")
	var found Found
	if len(c.calls) == 0 {
		found = c.scanner.Write(content.String())
	} else {
		found.Text = content.String()
	}
	if ends {
		rest := c.scanner.Close()
		found.Text += rest.Text
		found.Calls, found.Problems = append(found.Calls, rest.Calls...), append(found.Problems, rest.Problems...)
	}
	c.found = append(c.found, found.Calls...)
	for _, problem := range found.Problems {
		s.tell(problem)
	}
	if found.Text != content.String() {
		e.set(delta, "content", quote(found.Text))
	}
	others := false
	delta.ForEach(func(name, v gjson.Result) bool {
		others = others || name.Str != "content" && v.Type != gjson.Null
		return !others
	})
	return found.Text == "" && !others && !ends
}

func (s *stream) tell(p Problem) {
	if s.told != nil {
		s.told(p)
	}
}

func (s *stream) repair(calls []Call) repaired {
	all := s.repairer.repair(calls)
	for _, problem := range all.problems {
		s.tell(problem)
	}
	return all
}

// add takes in the pieces of calls in one chunk. What has no index, or one that is taken by another id and name, is another
// call.
func (c *streamed) add(list []gjson.Result) {
	for _, piece := range list {
		index, id, name := piece.Get("index"), piece.Get("id").String(), piece.Get("function.name").String()
		var p *partialCall
		for _, known := range slices.Backward(c.calls) {
			switch {
			case index.Exists() && known.index != index.Int(),
				name != "" && id != "" && known.call.ID != id,
				name != "" && !index.Exists():
				continue
			}
			p = known
			break
		}
		if p == nil {
			p = &partialCall{index: int64(len(c.calls)), right: index.Type == gjson.Number && index.Int() == int64(len(c.calls)) && piece.Get("type").String() == "function"}
			if index.Exists() {
				p.index = index.Int()
			}
			c.calls = append(c.calls, p)
		}
		if p.call.ID == "" {
			p.call.ID = id
		}
		if p.call.Name == "" {
			p.call.Name = name
		}
		arguments := piece.Get("function.arguments")
		p.right = p.right && (arguments.Type == gjson.String || !arguments.Exists())
		p.arguments.WriteString(argumentText(arguments))
	}
}

// pending reports whether a choice with calls has not finished.
func (s *stream) pending() bool {
	for _, c := range s.choices {
		if len(c.calls) > 0 && !c.finished {
			return true
		}
	}
	return false
}

// release mends the calls in the chunks that are held back, and passes the chunks on: as they came, if the calls were right.
func (s *stream) release() bool {
	mended := make(map[int64]string)
	for index, c := range s.choices {
		if !c.finished || len(c.calls) == 0 {
			continue
		}
		calls, right := make([]Call, len(c.calls)), c.reason != "stop"
		for i, p := range c.calls {
			p.call.Arguments = p.arguments.String()
			calls[i], right = p.call, right && p.right
		}
		calls, right = append(calls, c.found...), right && len(c.found) == 0
		c.calls, c.found = nil, nil
		if all := s.repair(calls); all.changed || !right {
			mended[index] = writeToolCalls(all.calls, true)
		}
	}
	held := s.held
	s.held = nil
	for i, chunk := range held {
		chunk.More = i+1 < len(held)
		if len(mended) > 0 {
			chunk.Data = replaceCalls(chunk.Data, mended)
			if chunk.Data == nil && chunk.Usage == nil {
				continue
			}
			if chunk.FinishReason == "stop" {
				chunk.FinishReason = gjson.GetBytes(chunk.Data, "choices.0.finish_reason").String()
			}
		}
		s.last = append(s.last[:0], chunk.Data...)
		if !s.yield(chunk, nil) {
			return false
		}
	}
	return true
}

// replaceCalls puts the mended calls of each choice, which are used up by it, in the place of the first piece of one. It
// returns nil if the chunk has nothing left.
func replaceCalls(data []byte, mended map[int64]string) []byte {
	e := editor{data: data}
	empty := true
	for _, choice := range gjson.ParseBytes(data).Get("choices").Array() {
		index, delta := choice.Get("index").Int(), choice.Get("delta")
		calls, ok := mended[index]
		switch list := delta.Get("tool_calls"); {
		case !ok || !list.Exists():
			empty = false
		case calls != "":
			e.set(delta, "tool_calls", calls)
			mended[index], empty = "", false
		default:
			e.set(choice, "delta", `{}`)
			empty = empty && choice.Get("finish_reason").Type != gjson.String
		}
		if ok && choice.Get("finish_reason").Str == "stop" {
			e.set(choice, "finish_reason", `"tool_calls"`)
		}
	}
	if empty {
		return nil
	}
	return e.finish()
}

// end passes on what is left of a stream that ends without a finish reason.
func (s *stream) end() {
	if !s.release() || len(s.last) == 0 {
		return
	}
	for _, index := range slices.Sorted(maps.Keys(s.choices)) {
		c := s.choices[index]
		if c.finished {
			continue
		}
		rest := c.scanner.Close()
		c.found = append(c.found, rest.Calls...)
		for _, problem := range rest.Problems {
			s.tell(problem)
		}
		if rest.Text == "" && len(c.found) == 0 {
			continue
		}
		delta := `{"content":` + quote(rest.Text)
		if len(c.found) > 0 {
			delta += `,"tool_calls":` + writeToolCalls(s.repair(c.found).calls, true)
		}
		e := editor{data: s.last}
		e.set(gjson.ParseBytes(s.last), "choices", `[{"index":`+itoa(int(index))+`,"delta":`+delta+`},"finish_reason":null}]`)
		if !s.yield(llmgateway.Event{Data: e.finish(), Carries: true}, nil) {
			return
		}
	}
}
