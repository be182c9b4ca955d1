package bytebot

// write writes the messages of a plan, with the list's brackets.
func (p *plan) write(w *writer) {
	w.text("[")
	for i, t := range p.turns {
		if i > 0 {
			w.text(",")
		}
		p.turn(w, t)
	}
	w.text("]")
}

// turn writes one message.
func (p *plan) turn(w *writer, t turn) {
	switch {
	case len(t.of) == 0 && t.role == tool:
		w.text(`{"role":"tool","tool_call_id":` + t.answers + `,"content":` + quote(t.text) + `}`)
	case len(t.of) == 0:
		w.text(`{"role":"user","content":` + quote(t.text) + `}`)
	case len(t.of) == 1 && p.c.messages[t.of[0]].role == t.role && t.text == "":
		w.copy(p.c.messages[t.of[0]].span)
	case t.role == user:
		w.text(`{"role":"user","content":`)
		p.content(w, t)
		w.text("}")
	default:
		p.assistantTurn(w, t)
	}
}

// assistantTurn writes a model's turn that the agent sent in pieces.
func (p *plan) assistantTurn(w *writer, t turn) {
	w.text(`{"role":"assistant","content":`)
	p.content(w, t)
	thought, called := false, false
	for _, i := range t.of {
		m := p.c.messages[i]
		if m.reasoning.none() || p.c.body[m.reasoning.start] != '"' {
			continue
		}
		if !thought {
			w.text(`,"reasoning_content":"`)
		} else {
			w.text(`\n`)
		}
		thought = true
		w.copy(m.reasoning.inside())
	}
	if thought {
		w.text(`"`)
	}
	for _, i := range t.of {
		for _, call := range p.c.messages[i].calls {
			if !called {
				w.text(`,"tool_calls":[`)
			} else {
				w.text(`,`)
			}
			called = true
			w.copy(call.span)
		}
	}
	if called {
		w.text(`]`)
	}
	p.more(w, t)
	w.text(`}`)
}

// more writes the members of messages that nothing is known of. Of those with the same name the last stays.
func (p *plan) more(w *writer, t turn) {
	last := make(map[string]span)
	var names []string
	for _, i := range t.of {
		for _, m := range p.c.messages[i].more {
			if _, ok := last[m.name]; !ok {
				names = append(names, m.name)
			}
			last[m.name] = m.value
		}
	}
	for _, name := range names {
		w.text(`,"` + name + `":`)
		w.copy(last[name])
	}
}

// content writes what several messages say: a text if that is all, or else a list of parts.
func (p *plan) content(w *writer, t turn) {
	parts := false
	for _, i := range t.of {
		m := p.c.messages[i]
		parts = parts || !m.content.none() && p.c.body[m.content.start] == '['
	}
	if parts {
		p.parts(w, t)
		return
	}
	w.text(`"`)
	said := false
	for _, i := range t.of {
		if m := p.c.messages[i]; p.c.says(m) {
			if said {
				w.text(`\n\n`)
			}
			said = true
			p.string(w, m)
		}
	}
	if t.text != "" {
		if said {
			w.text(`\n\n`)
		}
		added := quote(t.text)
		w.text(added[1 : len(added)-1])
	}
	w.text(`"`)
}

// string writes the text of a message, without quotes.
func (p *plan) string(w *writer, m message) {
	if m.role == tool {
		w.text(strayText)
	}
	w.copy(m.content.inside())
}

// parts writes what several messages say as a list of parts.
func (p *plan) parts(w *writer, t turn) {
	w.text(`[`)
	some := false
	next := func() {
		if some {
			w.text(`,`)
		}
		some = true
	}
	for _, i := range t.of {
		m := p.c.messages[i]
		switch {
		case p.c.says(m):
			next()
			w.text(`{"type":"text","text":"`)
			p.string(w, m)
			w.text(`"}`)
		case p.c.hasParts(m):
			next()
			w.copy(m.content.inside())
		}
	}
	if t.text != "" {
		next()
		w.text(`{"type":"text","text":` + quote(t.text) + `}`)
	}
	w.text(`]`)
}
