package local

import (
	"math"
	"slices"
	"time"
)

// outdated is how old measurements may be. With none younger, one request is let in to measure again, whatever it takes:
// otherwise one bad measurement could keep all others from being made.
const outdated = 10 * time.Minute

// forecast is what is going to happen, in seconds from now.
type forecast struct {
	first map[*job]float64 // token; not of those that have it
	slot  float64          // when a slot becomes free that nobody waits for
}

// play is one job in a forecast.
type play struct {
	*job
	slots  []int
	prompt float64 // seconds of work left
	rounds float64 // that the work takes
	rest   float64 // tokens left of each answer
	begun  bool    // its first token has come
}

// forecast plays through what all who are here are going to do, and after them next, if it is not nil. It is not known
// before there are measurements. mu is held.
func (q *queue) forecast(next *job, now time.Time, loading time.Duration) (f forecast, known bool) {
	q.meter.advance(q.running, now)
	if !q.meter.prompt.known() || len(q.running) == 0 && now.Sub(q.meter.measuredAt) > outdated {
		return f, false
	}
	r := &rehearsal{meter: &q.meter, table: q.table.clone(), now: now, at: loading.Seconds()}
	f.first = make(map[*job]float64, len(q.running)+q.waiting.Len()+1)
	f.slot = -1
	for _, j := range q.running {
		if !r.join(j, now) {
			return f, false
		}
	}
	var waiting []*job
	for place := q.waiting.Front(); place != nil; place = place.Next() {
		waiting = append(waiting, place.Value.(*job))
	}
	if next != nil {
		waiting = append(waiting, next)
	}
	for {
		for len(waiting) > 0 && r.table.free() >= waiting[0].width {
			if !r.enter(waiting[0]) {
				return f, false
			}
			waiting = waiting[1:]
		}
		if len(waiting) == 0 && f.slot < 0 && r.table.free() > 0 {
			f.slot = r.at
		}
		if p := r.prompt(); p != nil {
			f.first[p.job] = r.at
		} else if len(waiting) == 0 && f.slot >= 0 || !r.answers() {
			return f, r.known()
		}
	}
}

// rehearsal is an engine that only exists in a forecast.
type rehearsal struct {
	meter *meter
	table table
	plays []*play
	now   time.Time
	at    float64 // seconds from now
	blind bool    // the answers' speed was needed and is not known
}

func (r *rehearsal) known() bool { return !r.blind }

// join puts in a job that runs already.
func (r *rehearsal) join(j *job, now time.Time) (known bool) {
	if j.sent.IsZero() {
		return r.stage(j, j.slots)
	}
	p := &play{job: j, slots: j.slots, begun: !j.first.IsZero()}
	done := float64(j.tokens.Load()) / float64(j.width)
	if !p.begun {
		worth, known := r.meter.promptTime(j.size, j.fresh)
		if !known {
			return false
		}
		// Work that takes longer than it should goes on for a while.
		p.prompt = max(worth-j.worked, worth/10)
		p.rounds = r.meter.rounds(j.size, j.fresh) * p.prompt / max(worth, 1e-9)
	} else if round := r.meter.step.at(float64(j.width)); !j.stream && round > 0 {
		done = now.Sub(j.first).Seconds() / round
	}
	return r.add(p, done)
}

// enter lets in a job that waits.
func (r *rehearsal) enter(j *job) (known bool) { return r.stage(j, r.table.take(j)) }

// stage begins a job in its slots.
func (r *rehearsal) stage(j *job, slots []int) (known bool) {
	held := &r.table[slots[0]].prompt
	p := &play{job: j, slots: slots}
	fresh := j.size
	if len(j.prompt.Links) > 0 {
		fresh = j.prompt.beyond(held, j.prompt.shared(held))
	}
	p.prompt, known = r.meter.promptTime(j.size, fresh)
	p.rounds = r.meter.rounds(j.size, fresh)
	return known && r.add(p, 0)
}

// add adds a play of whose answer so many tokens have come.
func (r *rehearsal) add(p *play, done float64) (known bool) {
	known = true
	if !p.embeds {
		most := 0.0
		if p.maxTokens > 0 {
			most = max(1, float64(p.maxTokens)-done)
		}
		p.rest, known = r.meter.lengths.rest(most)
	}
	r.plays = append(r.plays, p)
	return known
}

// prompt lets the next prompt be processed and returns whose it was, or nil if there is none.
func (r *rehearsal) prompt() *play {
	var next *play
	for _, p := range r.plays {
		if !p.begun && (next == nil || p.slots[0] < next.slots[0]) {
			next = p
		}
	}
	if next == nil {
		return nil
	}
	r.at += next.prompt
	for _, p := range r.plays {
		if p.begun {
			p.rest -= next.rounds
		}
	}
	next.begun = true
	next.rest--
	r.dismiss()
	return next
}

// answers lets all answers go on until one of them is whole. It returns false if there is none.
func (r *rehearsal) answers() bool {
	if len(r.plays) == 0 {
		return false
	}
	if !r.meter.step.known() {
		r.blind = true
		return false
	}
	rounds, crowd := math.Inf(1), 0
	for _, p := range r.plays {
		rounds = min(rounds, p.rest)
		crowd += p.width
	}
	rounds = max(rounds, 0)
	r.at += rounds * r.meter.step.at(float64(crowd))
	for _, p := range r.plays {
		p.rest -= rounds
	}
	r.dismiss()
	return true
}

// dismiss ends the plays whose answers are whole.
func (r *rehearsal) dismiss() {
	const almost = 1e-6
	r.plays = slices.DeleteFunc(r.plays, func(p *play) bool {
		done := p.begun && p.rest < almost
		if done {
			// Not with the job's own slots: it may be elsewhere, or nowhere yet.
			r.table.giveBack(&job{slots: p.slots, chat: p.chat, prompt: p.job.prompt}, true, true, r.now.Add(seconds(r.at)))
		}
		return done
	})
}
