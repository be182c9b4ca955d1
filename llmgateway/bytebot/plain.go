package bytebot

// said writes the content of a message in the plain form: what several messages say, call and answer.
func (s *shape) said(of []int) {
	parts := false
	for _, i := range of {
		parts = parts || s.c.hasParts(s.c.messages[i])
	}
	if !parts {
		s.w.text(`"`)
		s.texts(of)
		s.w.text(`"`)
		return
	}
	s.w.text(`[`)
	for n, run := range s.runs(of) {
		if n > 0 {
			s.w.text(`,`)
		}
		if m := s.c.messages[run[0]]; s.c.hasParts(m) {
			s.w.copy(m.content.inside())
			if len(m.calls) == 0 {
				continue
			}
			s.w.text(`,`)
		}
		s.w.text(`{"type":"text","text":"`)
		s.texts(run)
		s.w.text(`"}`)
	}
	s.w.text(`]`)
}

// runs splits messages into those with parts, one by one, and what is between them.
func (s *shape) runs(of []int) (runs [][]int) {
	texts := false
	for _, i := range of {
		switch parts := s.c.hasParts(s.c.messages[i]); {
		case !parts && texts:
			runs[len(runs)-1] = append(runs[len(runs)-1], i)
		default:
			runs = append(runs, []int{i})
			texts = !parts
		}
	}
	return runs
}

// texts writes what messages say, without quotes. Calls and answers look as Hermes' models write them, which many know.
func (s *shape) texts(of []int) {
	some := false
	next := func() {
		if some {
			s.w.text(`\n\n`)
		}
		some = true
	}
	for _, i := range of {
		m := s.c.messages[i]
		if s.c.says(m) {
			next()
			if m.role == tool {
				s.w.text(`<tool_response>\n`)
			}
			s.w.copy(m.content.inside())
			if m.role == tool {
				s.w.text(`\n</tool_response>`)
			}
		}
		for _, call := range m.calls {
			next()
			name := quote(quote(call.name)) // as it stands in JSON that stands in a string
			s.w.text(`<tool_call>\n{\"name\": ` + name[1:len(name)-1] + `, \"arguments\": `)
			if call.arguments.none() || call.arguments.end-call.arguments.start <= len(`""`) {
				s.w.text(`{}`)
			} else {
				s.w.copy(call.arguments.inside())
			}
			s.w.text(`}\n</tool_call>`)
		}
	}
}
