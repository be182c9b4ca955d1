package caddymodule

import (
	"context"
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/limit"
)

// reserve takes what the request may use out of all limits that it is under. Where one of them has no room the error says
// so; what the others have given is then settled as for any request that failed.
func (rec *record) reserve(ctx context.Context) error {
	rec.tally = limit.NewTally(rec.request, rec.h.table.Dearest(rec.request))
	var tightest limit.Status
	for _, a := range admissions(ctx) {
		reservation, status, err := a.reserve(ctx, rec.tally.Estimate())
		if err == nil {
			rec.reservations = append(rec.reservations, reservation)
		}
		if status.Limit > 0 && (tightest.Limit == 0 || status.Remaining < tightest.Remaining) {
			tightest = status
			rec.setLimit(status)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setLimit tells the client how it stands with its limit of tokens, as OpenAI does
// (https://platform.openai.com/docs/guides/rate-limits).
func (rec *record) setLimit(status limit.Status) {
	header := rec.w.Header()
	values := []string{strconv.FormatInt(status.Limit, 10), strconv.FormatInt(status.Remaining, 10), status.Reset.Round(1e6).String()}
	header["X-Ratelimit-Limit-Tokens"] = values[0:1:1]
	header["X-Ratelimit-Remaining-Tokens"] = values[1:2:2]
	header["X-Ratelimit-Reset-Tokens"] = values[2:3:3]
}

// settle takes in what the request has used. Only the first call counts.
func (rec *record) settle() {
	if rec.settled || rec.tally == nil {
		return
	}
	rec.settled = true
	rec.used = rec.tally.Use()
	for _, r := range rec.reservations {
		r.Settle(context.Background(), rec.used)
	}
}

// setCost tells the client what an answer cost that is about to be sent as a whole.
func (rec *record) setCost() {
	if !rec.request.ClientStream && rec.tally.Priced() {
		rec.w.Header().Set("X-Llm-Cost", limit.FormatUSD(rec.used.Cost))
	}
}

// lastComment tells what a stream cost, which is only known at its end.
func (rec *record) lastComment() string {
	if !rec.tally.Priced() {
		return ""
	}
	return "X-Llm-Cost: " + limit.FormatUSD(rec.used.Cost)
}
