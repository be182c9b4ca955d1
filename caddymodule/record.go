package caddymodule

import (
	"cmp"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/limit"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// record is what is known of one request, for headers, placeholders and logs. One goroutine uses it; while a ping is sent,
// the ping's may ask for placeholders.
type record struct {
	h       *Handler
	w       http.ResponseWriter
	began   time.Time
	request *llmgateway.Request
	trace   llmgateway.Trace
	pinger  *openai.Pinger            // must be stopped before w is used
	spans   *attemptSpans             // nil if the request is not traced
	log     *caddyhttp.ExtraLogFields // of the access log; nil without one

	tally        *limit.Tally // nil before there is a request
	reservations []*limit.Reservation
	settled      bool
	used         limit.Use // known when settled

	answer      llmgateway.Attempt  // the attempt that answered
	answerBegan time.Time           // when that attempt did
	failed      atomic.Int64        // attempts that did not
	outruns     int                 // the number of the last attempt that another was faster than
	finisher    string              // who finished the answer after it broke
	asked       llmgateway.CacheUse // by the attempt that is made now
	cache       llmgateway.CacheUse // by the attempt that answered
	firstToken  time.Duration
	duration    time.Duration
	status      int
	finish      string
	usage       *llmgateway.Usage
	hidden      error // why the request failed, if the client is told by an answer
}

// newRecord starts a record and offers its facts as placeholders.
func newRecord(h *Handler, w http.ResponseWriter, r *http.Request) *record {
	rec := &record{h: h, w: w, began: time.Now()}
	rec.trace = llmgateway.Trace{
		Tried: rec.tried, Answering: rec.answering, Broke: rec.broke, Resumed: rec.resumed, Outrun: rec.outrun,
		Cached: rec.cached, Spent: rec.spent, Concealed: rec.concealed,
	}
	if rec.spans = newAttemptSpans(r.Context()); rec.spans != nil {
		rec.trace.Attempting, rec.trace.Sending = rec.spans.attempting, rec.spans.header
	}
	rec.log, _ = r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(rec.placeholder)
	}
	return rec
}

// asks takes in what is asked for.
func (rec *record) asks(req *llmgateway.Request) {
	rec.request = req
	if rec.spans != nil {
		rec.spans.operation = string(req.Operation)
	}
}

// failure describes an attempt that failed.
func failure(a llmgateway.Attempt) []zap.Field {
	return append(effort(a), zap.String("reason", string(llmgateway.AsError(a.Err).Kind)), zap.Error(a.Err))
}

// effort describes an attempt.
func effort(a llmgateway.Attempt) []zap.Field {
	return []zap.Field{
		zap.String("provider", a.Provider), zap.String("upstream_model", a.Model), zap.Int("attempt", a.Number),
		zap.Duration("duration", a.Duration),
	}
}

// tried logs a failed attempt.
func (rec *record) tried(a llmgateway.Attempt) {
	rec.failed.Add(1)
	rec.spans.failed(a)
	rec.countAttempt(a)
	e := llmgateway.AsError(a.Err)
	retriesTotal.WithLabelValues(rec.model(), string(e.Kind)).Inc()
	fields := func() []zap.Field { return failure(a) }
	switch e.Kind {
	case llmgateway.Canceled, llmgateway.InvalidRequest:
		if c := rec.h.logger.Check(zap.DebugLevel, "target did not answer"); c != nil {
			c.Write(fields()...)
		}
	case llmgateway.Denied:
		rec.h.logger.Error("provider refuses our credentials", fields()...)
	default:
		rec.h.logger.Warn("target did not answer", fields()...)
	}
}

// broke logs that an answer broke which another target is to finish.
func (rec *record) broke(a llmgateway.Attempt) {
	rec.spans.failed(a)
	rec.countAttempt(a)
	rec.h.logger.Warn("answer broke off, another target is asked to finish it", failure(a)...)
}

// resumed notes who finishes the answer. It is told at the end of the stream.
func (rec *record) resumed(a llmgateway.Attempt) {
	rec.finisher = headerValue(a.Provider + "/" + a.Model)
	rec.w.Header()[openai.ResumedField] = []string{rec.finisher}
	rec.h.logger.Info("answer is finished by another target", effort(a)...)
}

// outrun logs that another target was faster.
func (rec *record) outrun(a llmgateway.Attempt) {
	rec.outruns = a.Number
	rec.spans.outrun(a)
	if c := rec.h.logger.Check(zap.DebugLevel, "another target was faster"); c != nil {
		c.Write(effort(a)...)
	}
}

// cached takes in what the cache did for the attempt that is made now.
func (rec *record) cached(use llmgateway.CacheUse) { rec.asked = use }

// spent takes in what an attempt has used.
func (rec *record) spent(s llmgateway.Spending) {
	if s.Told {
		rec.countTokens(s.Attempt.Provider, &s.Used)
	}
	if used := rec.tally.Spent(s); used.Cost > 0 {
		costTotal.WithLabelValues(rec.model(), s.Attempt.Provider).Add(float64(used.Cost) / limit.USD)
	}
}

// concealed takes in that the client is told by an answer what failed for good.
func (rec *record) concealed(err error) {
	rec.hidden = err
	rec.pinger.Stop()
	rec.setAttempts()
	rec.h.logger.Warn("request failed, the user is asked for help", rec.fields(err)...)
}

// answering says who answers, while the header can still be written. After a ping it goes into a comment.
func (rec *record) answering(a llmgateway.Attempt) {
	rec.pinger.Stop()
	rec.answer = a
	rec.tally.Answering(a)
	rec.firstToken = time.Since(rec.began)
	rec.answerBegan = time.Now().Add(-a.Duration)
	rec.spans.began(a)
	header := rec.w.Header()
	header["X-Llm-Provider"] = []string{a.Provider}
	header["X-Llm-Model"] = []string{headerValue(a.Model)}
	rec.cache = rec.asked
	cacheResults.add(rec.cache.Result)
	if rec.cache.Result != "" {
		header["X-Cache"] = []string{strings.ToUpper(string(rec.cache.Result))}
	}
	if rec.cache.Result == llmgateway.CacheHit {
		header["Age"] = []string{strconv.FormatInt(int64(rec.cache.Age/time.Second), 10)}
	}
	rec.setAttempts()
}

func (rec *record) setAttempts() {
	attempts := rec.failed.Load()
	if rec.answer.Number > 0 {
		attempts = int64(max(rec.answer.Number, rec.outruns))
	}
	if attempts == 0 {
		return
	}
	rec.w.Header()["X-Llm-Attempts"] = []string{strconv.FormatInt(attempts, 10)}
}

// headerValue drops what must not stand in a header; a model's name may come from the client.
func headerValue(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// observe passes events on and keeps what they tell. What the request has used is settled before the client can know that
// its answer is whole, so that there is room for its next request.
func (rec *record) observe(events iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for event, err := range events {
			if err != nil && rec.answer.Number == 0 {
				rec.pinger.Stop()
				rec.setAttempts()
			}
			if event.FinishReason != "" {
				rec.finish = event.FinishReason
			}
			if event.Usage != nil {
				rec.usage = event.Usage
			}
			if err != nil || event.Whole {
				rec.settle()
				rec.setCost()
			}
			if !yield(event, err) {
				return
			}
		}
		rec.settle()
	}
}

// end takes in how the request ended.
func (rec *record) end(err error) {
	err = cmp.Or(err, rec.hidden)
	rec.duration = time.Since(rec.began)
	rec.status = http.StatusOK
	if err != nil {
		rec.status = openai.Status(llmgateway.AsError(err))
	}
	rec.settle()
	if a := rec.answer; a.Number > 0 {
		a.Duration, a.Err = time.Since(rec.answerBegan), err
		rec.countAttempt(a)
	}
	if rec.log != nil {
		rec.log.Set(rec.accessLog())
	}
	rec.spans.finish(rec, err)
	rec.count(err)
}

func (rec *record) fields(err error) []zap.Field {
	return []zap.Field{
		zap.String("model", rec.model()), zap.String("provider", rec.answer.Provider), zap.String("upstream_model", rec.answer.Model),
		zap.Duration("duration", rec.duration), zap.String("reason", string(llmgateway.AsError(err).Kind)), zap.Error(err),
	}
}

// model returns the configured name of the model, or _other: what clients write is without bounds.
func (rec *record) model() string {
	if rec.request != nil {
		if name := rec.h.table.Resolve(rec.request); name != "" {
			return name
		}
	}
	return "_other"
}

// placeholder implements caddy.ReplacerFunc.
func (rec *record) placeholder(key string) (any, bool) {
	key, ok := strings.CutPrefix(key, "http.llm.")
	if !ok {
		return nil, false
	}
	usage := rec.usage
	if usage == nil {
		usage = new(llmgateway.Usage)
	}
	switch key {
	case "model":
		return rec.model(), true
	case "provider":
		return rec.answer.Provider, true
	case "upstream_model":
		return rec.answer.Model, true
	case "retries":
		return rec.failed.Load(), true
	case "cache":
		return string(rec.cache.Result), true
	case "status":
		return rec.status, true
	case "resumed_by":
		return rec.finisher, true
	case "finish_reason":
		return rec.finish, true
	case "usage.prompt_tokens":
		return usage.PromptTokens, true
	case "usage.completion_tokens":
		return usage.CompletionTokens, true
	case "usage.total_tokens":
		return usage.TotalTokens, true
	case "usage.cached_tokens":
		return usage.CachedTokens, true
	case "usage.reasoning_tokens":
		return usage.ReasoningTokens, true
	case "usage.counted_tokens":
		return rec.used.Tokens, true
	case "cost":
		return limit.FormatUSD(rec.used.Cost), true
	case "first_token_ms":
		return rec.firstToken.Milliseconds(), true
	case "duration_ms":
		return rec.duration.Milliseconds(), true
	}
	return nil, false
}
