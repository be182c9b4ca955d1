package local

import (
	"math"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// meter measures how fast an engine is while it works. llama-server computes all its slots in one loop: each round takes
// as much of the prompts as a batch holds, those of the first slots first, and one token of every answer. So prompts take
// the time that they would take alone, one after the other, and answers all but stand still meanwhile. Without prompts, a
// round takes longer the more answers there are.
//
// Prompts that overlap are measured together: what they took from the first one's arrival until none was left.
type meter struct {
	tokens     line  // of a prompt, by bytes of text
	imageSize  mean  // tokens of an image
	prompt     curve // seconds, by tokens of text that are not cached
	imageTime  mean  // seconds of an image, if it is not cached
	step       line  // seconds of a round, by answers in it
	lengths    lengths
	batch      float64   // most tokens of prompts in a round
	measuredAt time.Time // last

	now    time.Time // up to which clock goes
	clock  clock
	period *period // of the prompts that are processed now
}

// clock adds up what the time was used for, in seconds.
type clock struct {
	stalled float64 // there was a prompt
	busy    float64 // there were answers and no prompt
	crowd   float64 // busy, once for each answer
	rounds  float64 // while it was stalled; not seconds
}

// period is a time during which there always was a prompt to process.
type period struct {
	began         time.Time
	prompts, open int
	known         int  // prompts whose length came
	work          work // of text
	images        int
	took          float64 // seconds; 0 before the end
	spoiled       bool    // for measuring
}

// advance moves the clock on. jobs are those that are at the server, or will be.
func (m *meter) advance(jobs []*job, now time.Time) {
	for m.now.Before(now) {
		until := now
		var turned *job // whose first token is thought to come before now
		var working *job
		answers, prompts := 0, 0
		for _, j := range jobs {
			switch {
			case j.sent.IsZero():
			case !j.first.IsZero():
				answers += j.width
			default:
				prompts++
				if working == nil || j.slots[0] < working.slots[0] {
					working = j
				}
			}
		}
		if working != nil && !working.stream && working.worth > working.worked {
			if end := m.now.Add(seconds(working.worth - working.worked)); end.Before(until) {
				until, turned = end, working
			}
		}
		dt := until.Sub(m.now).Seconds()
		switch {
		case prompts > 0:
			m.clock.stalled += dt
			working.worked += dt
		case answers > 0:
			m.clock.busy += dt
			m.clock.crowd += dt * float64(answers)
		}
		m.now = until
		if turned != nil {
			turned.worked = turned.worth
			if turned.chat {
				m.firstToken(turned, until)
			} else {
				turned.worth = 0 // it takes longer
			}
		}
	}
}

// begin notes that j is sent.
func (m *meter) begin(j *job, jobs []*job, now time.Time) {
	j.sent, j.first, j.alone, j.worked = now, time.Time{}, true, 0
	j.worth, _ = m.promptTime(j.size, j.fresh)
	for _, other := range jobs {
		if other != j && !other.sent.IsZero() {
			other.alone, j.alone = false, false
		}
	}
	if m.period == nil {
		m.period = &period{began: now}
	}
	j.period = m.period
	j.period.prompts++
	j.period.open++
	if !j.chat || !j.stream {
		j.period.spoiled = true
	}
}

// firstToken notes that the prompt of j has been processed.
func (m *meter) firstToken(j *job, now time.Time) {
	if !j.first.IsZero() || j.sent.IsZero() {
		return
	}
	m.clock.rounds += m.rounds(j.size, j.fresh)
	j.first, j.atFirst = now, m.clock
	m.close(j, now)
}

// close takes j out of its period.
func (m *meter) close(j *job, now time.Time) {
	p := j.period
	if p.open--; p.open > 0 {
		return
	}
	p.took = now.Sub(p.began).Seconds()
	if m.period == p {
		m.period = nil
	}
}

// end notes that j is done with, and learns from it.
func (m *meter) end(j *job, whole bool, now time.Time) {
	p := j.period
	if j.first.IsZero() {
		p.spoiled = true
		m.close(j, now)
		return
	}
	if !j.chat {
		return
	}
	t := j.timing
	if t.generated == 0 {
		t.generated = int(j.tokens.Load()) / j.width
	}
	m.lengths.add(float64(t.generated), whole && t.finish != "length")
	if t.prompt+t.cached == 0 {
		p.spoiled = true
	} else {
		m.learnPrompt(j, t)
	}
	m.learnStep(j, t, now)
}

func (m *meter) learnPrompt(j *job, t timings) {
	all := float64(t.prompt + t.cached)
	if images := j.size.Images; len(j.prompt.Links) == 0 {
		// Nobody has looked how long it is.
	} else if images == 0 {
		m.tokens.add(float64(j.size.Text), all)
	} else {
		m.imageSize.add(max(0, all-m.textTokens(j.size.Text)) / float64(images))
	}
	fresh := newWork(max(0, float64(t.prompt)-float64(j.fresh.Images)*m.imageSize.get()), float64(t.cached))
	if !j.stream {
		if j.alone && t.promptTime > 0 {
			m.learnPeriod(fresh, float64(j.fresh.Images), t.promptTime)
		}
		return
	}
	p := j.period
	p.known++
	p.work = p.work.plus(fresh, 1)
	p.images += j.fresh.Images
	if p.took > 0 && p.known == p.prompts && !p.spoiled {
		n := float64(p.prompts)
		m.learnPeriod(work{}.plus(p.work, 1/n), float64(p.images)/n, p.took/n)
	}
}

// learnPeriod learns what one prompt took, on an average.
func (m *meter) learnPeriod(text work, images, took float64) {
	switch {
	case images == 0:
		m.prompt.add(text, took)
	case m.prompt.known():
		m.imageTime.add(max(0, took-m.prompt.at(text)) / images)
	default: // what images take beyond their tokens shows when there was a prompt without
		m.prompt.add(text.plus(newWork(m.imageSize.get(), 0), images), took)
	}
	m.measuredAt = m.now
}

// learnStep learns how long a round took while j was answered.
func (m *meter) learnStep(j *job, t timings, now time.Time) {
	took := t.generateTime
	if took == 0 {
		took = now.Sub(j.first).Seconds()
	}
	rounds := float64(t.generated-1) - (m.clock.rounds - j.atFirst.rounds)
	took -= m.clock.stalled - j.atFirst.stalled
	busy := m.clock.busy - j.atFirst.busy
	answers := float64(j.width)
	switch {
	case rounds < 3 || took <= 0:
		return
	case busy > 0:
		answers = max(answers, (m.clock.crowd-j.atFirst.crowd)/busy)
	case !j.alone: // nobody knows how many others there were
		return
	}
	m.step.add(answers, took/rounds)
}

// textTokens returns about how many tokens a prompt without images has.
func (m *meter) textTokens(bytes int) float64 {
	if !m.tokens.known() {
		return float64(bytes) / 4
	}
	return m.tokens.at(float64(bytes))
}

// promptTokens returns about how many tokens a prompt has.
func (m *meter) promptTokens(s size) float64 {
	if s == (size{}) {
		return 0
	}
	return m.textTokens(s.Text) + float64(s.Images)*m.imageSize.get()
}

// freshTokens returns about how many of them are text that is new to the slot.
func (m *meter) freshTokens(whole, fresh size) float64 {
	return m.textTokens(whole.Text) - m.textTokens(whole.Text-fresh.Text)
}

// promptTime returns how long a prompt takes, of which only fresh is new.
func (m *meter) promptTime(whole, fresh size) (s float64, known bool) {
	if !m.prompt.known() {
		return 0, false
	}
	text := newWork(m.freshTokens(whole, fresh), m.promptTokens(whole.minus(fresh)))
	return m.prompt.at(text) + float64(fresh.Images)*m.imageTime.get(), true
}

// rounds returns in how many rounds a prompt is processed.
func (m *meter) rounds(whole, fresh size) float64 {
	tokens := m.freshTokens(whole, fresh) + float64(fresh.Images)*m.imageSize.get()
	return max(1, math.Ceil(tokens/max(1, m.batch)))
}

// timings is what llama-server tells of one generation.
type timings struct {
	prompt, cached, generated int     // tokens; 0 if it is not known
	promptTime, generateTime  float64 // seconds
	finish                    string
}

// read takes in what an event tells. With several answers, the times are the last one's.
func (t *timings) read(event llmgateway.Event) {
	if event.FinishReason != "" {
		t.finish = event.FinishReason
	}
	if event.FinishReason == "" && event.Usage == nil {
		return
	}
	if said := gjson.GetBytes(event.Data, "timings"); said.IsObject() {
		t.prompt, t.cached = int(said.Get("prompt_n").Int()), int(said.Get("cache_n").Int())
		t.generated = max(t.generated, int(said.Get("predicted_n").Int()))
		t.promptTime, t.generateTime = said.Get("prompt_ms").Float()/1000, said.Get("predicted_ms").Float()/1000
	}
	if u := event.Usage; u != nil {
		t.prompt, t.cached, t.generated = u.PromptTokens-u.CachedTokens, u.CachedTokens, u.CompletionTokens
	}
}
