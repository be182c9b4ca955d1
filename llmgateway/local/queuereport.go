package local

import "time"

// QueueReport is what an engine is doing, for operators. It holds nothing of what requests say.
type QueueReport struct {
	// Slots is how many generations there can be at once, and Free how many more could begin now.
	Slots int `json:"slots"`
	Free  int `json:"free"`
	// Running are the requests that have their slots, in the order in which they got them.
	Running []QueuedRequest `json:"running"`
	// Waiting are the requests that do not, the next to get one first.
	Waiting []QueuedRequest `json:"waiting"`
	// LongestWait is how long the one of them has been here that came first, in seconds.
	LongestWait float64 `json:"longest_wait_seconds"`
	// ExpectedWait is how long a request that came now would wait for a slot, in seconds. It is nil before there are
	// measurements.
	ExpectedWait *float64 `json:"expected_wait_seconds,omitempty"`
	// PromptSpeed and GenerationSpeed are in tokens per second: of the beginning of a prompt that is processed alone, and
	// of an answer that is made alone. They are 0 before there are measurements.
	PromptSpeed     float64 `json:"prompt_tokens_per_second"`
	GenerationSpeed float64 `json:"generated_tokens_per_second"`
}

// QueuedRequest is a request in a [QueueReport]. Numbers of tokens are guesses made from the lengths of other requests.
type QueuedRequest struct {
	// Position is 1 for the next that gets its slots, and 0 for one that has them.
	Position int `json:"position,omitempty"`
	// Slots is how many slots it takes: one for each answer to a prompt.
	Slots int `json:"slots"`
	// Age is the time since it came, in seconds.
	Age float64 `json:"age_seconds"`
	// PromptTokens is the length of its prompt, and CachedTokens the part of it that is cached, once it has its slots. They
	// are 0 if nobody looked at the prompt, as where neither max_wait nor the choice of a slot needs it.
	PromptTokens int `json:"prompt_tokens,omitempty"`
	CachedTokens int `json:"cached_tokens,omitempty"`
	// GeneratedTokens is how many came so far, if the answer is streamed.
	GeneratedTokens int `json:"generated_tokens,omitempty"`
	// FirstToken is when its first token is expected, in seconds from now. It is nil if the token has come, and before
	// there are measurements.
	FirstToken *float64 `json:"first_token_seconds,omitempty"`
}

// Queue returns what the engine is doing now.
func (e *Engine) Queue() QueueReport {
	return e.queue.report(time.Now(), e.loadingLeft())
}

func (q *queue) report(now time.Time, loading time.Duration) QueueReport {
	q.mu.Lock()
	defer q.mu.Unlock()
	report := QueueReport{
		Slots: len(q.table), Free: q.table.free(),
		// Not nil, which JSON has another word for.
		Running: make([]QueuedRequest, 0, len(q.running)), Waiting: make([]QueuedRequest, 0, q.waiting.Len()),
	}
	f, known := q.forecast(nil, now, loading)
	if known {
		report.ExpectedWait = &f.slot
	}
	if perToken := q.meter.prompt.slope(); perToken > 0 {
		report.PromptSpeed = 1 / perToken
	}
	if q.meter.step.known() {
		report.GenerationSpeed = 1 / q.meter.step.at(1)
	}
	for _, j := range q.running {
		report.Running = append(report.Running, q.describe(j, now, f, known))
	}
	for place := q.waiting.Front(); place != nil; place = place.Next() {
		entry := q.describe(place.Value.(*job), now, f, known)
		entry.Position = len(report.Waiting) + 1
		report.Waiting = append(report.Waiting, entry)
		report.LongestWait = max(report.LongestWait, entry.Age)
	}
	return report
}

// describe describes j. mu is held.
func (q *queue) describe(j *job, now time.Time, f forecast, known bool) QueuedRequest {
	entry := QueuedRequest{
		Slots: j.width, Age: now.Sub(j.came).Seconds(),
		PromptTokens: int(q.meter.promptTokens(j.size)), GeneratedTokens: int(j.tokens.Load()),
	}
	if !j.sent.IsZero() {
		entry.CachedTokens = int(q.meter.promptTokens(j.size.minus(j.fresh)))
	}
	if first, ok := f.first[j]; ok && known {
		entry.FirstToken = &first
	}
	return entry
}
